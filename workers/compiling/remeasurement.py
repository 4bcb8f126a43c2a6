"""A version's verified tiers, measured again where this runs: opened as an executor opens them.

    placement ── each variant: signature and digests checked, opened, warm ── all measured in turns

What was found when a tier was made stays in its report: errors, verdict, seconds of compiling. What
cannot be opened here is `failed`, with the reason, and hides no other. For a process that has nothing
else to lose: it holds every tier at once. `tests/cli/test_models_registry.py`. On a GPU it was never run.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from chimera.schemas.compile_report import Step, TierReport, Timings, read_variant
from chimera.schemas.errors import ChimeraError, ConfigurationError
from chimera.schemas.placements import Placement, Variant
from chimera.schemas.tiers import BY_NAME
from chimera.workers.backends.loaders import TorchLoader
from chimera.workers.compiling import gpu, measurement
from chimera.workers.compiling.attempts import Attempt, Progress
from chimera.workers.compiling.pipeline import Targets, measured
from chimera.workers.compiling.source import Source, read_source
from chimera.workers.placed import require_native


@dataclass(frozen=True, slots=True)
class Pace:
    """How it is measured."""

    sizes: tuple[int, ...]  # rows of a batch
    seconds: float  # a tier, a batch size; a slow one takes longer


def remeasure(
    placement: Placement,
    reports: Sequence[TierReport],
    targets: Targets,
    pace: Pace,
    progress: Progress = lambda step: None,
) -> tuple[TierReport, ...]:
    """`reports`: of when it was compiled; those without a verified artifact come back as they are.

    Raises:
        ModelRefused: the version itself cannot be read.
        ChimeraError: a tier that was opened fails while it is measured.
    """
    source = read_source(Path(placement.folder))
    feeds = {rows: source.inputs(rows) for rows in _sizes(source, targets, pace.sizes)}
    variants = {(one.name, one.target): one for one in placement.variants}
    attempts: list[Attempt] = []
    for report in reports:
        target = report.target if BY_NAME[report.tier].file else ""
        variant = variants.get((report.variant, target))
        if variant is None or report.verdict != "verified":
            attempts.append(Attempt(report))
            continue
        progress(Step(report.variant, "loading"))
        attempts.append(_opened(report, placement, variant, source, targets, feeds))
    return tuple(measured(attempts, feeds, pace.seconds, progress))


def _opened(
    report: TierReport,
    placement: Placement,
    variant: Variant,
    source: Source,
    targets: Targets,
    feeds: measurement.Feeds,
) -> Attempt:
    compile_s = report.timings.compile_s if report.timings else 0.0
    try:
        require_native(variant, placement.trusted)
        loader = TorchLoader(_device(variant, targets), targets.threads, targets.definitions)
        started_s = time.monotonic()
        backend = loader.open(source.manifest, source.content, variant)
        load_ms = (time.monotonic() - started_s) * 1000
        first_ms, warm_up_ms = measurement.warm_up(backend, feeds)
    except (ChimeraError, MemoryError) as error:
        reason = (str(error) or type(error).__name__)[:500]
        return Attempt(replace(report, verdict="failed", reason=reason, timings=None))
    timings = Timings(compile_s, round(load_ms, 3), round(first_ms, 3), round(warm_up_ms, 3))
    return Attempt(replace(report, timings=timings), backend)


def _device(variant: Variant, targets: Targets) -> str:
    """Raises ConfigurationError: there is no such GPU here."""
    if BY_NAME[read_variant(variant.name)[0]].device == "cpu":
        return "cpu"
    found = gpu.find(targets.device)
    if isinstance(found, str):
        raise ConfigurationError(found)
    return found.device


def _sizes(source: Source, targets: Targets, wanted: Sequence[int]) -> tuple[int, ...]:
    """Those that the version takes."""
    manifest = source.manifest
    if not manifest.batches:
        return (1,)
    largest = manifest.max_batch_size or targets.max_rows
    return tuple(rows for rows in wanted if rows <= largest) or (largest,)
