"""Compiles a version into its tiers, verifies each against the reference, and measures what is right.

    reference ── cases ── for each tier: made ── loaded ── verified ── warm ── all measured in turns

For a process of its own (`python -m chimera.workers.compiling`): it holds torch, compilers and every
verified tier at once. A tier that cannot be made, loaded or verified says why and hides no other. The
reference is the eager fp32 module, or, for a version that is an ONNX graph, that graph with nothing
optimised. `tests/workers/compiling/test_pipeline.py`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from chimera.schemas.compile_report import (
    REPORT_FILE,
    CompileReport,
    Step,
    TierReport,
    Timings,
    encode,
)
from chimera.schemas.model_settings import CompilingSettings
from chimera.schemas.tiers import BY_NAME, TIERS
from chimera.workers.backends.opening import Place
from chimera.workers.backends.protocol import Backend
from chimera.workers.compiling import gpu, measurement
from chimera.workers.compiling.attempts import Attempt, Bench, Progress
from chimera.workers.compiling.costs import pays_after
from chimera.workers.compiling.source import read_source
from chimera.workers.compiling.targets import machine
from chimera.workers.compiling.workshop import Workshop
from chimera.workers.verification.cases import sizes
from chimera.workers.verification.verdicts import expect

EAGER = {"cpu": "torch-cpu", "cuda": "torch-cuda"}


@dataclass(frozen=True, slots=True)
class Targets:
    """What to compile for. `max_rows` is for manifests that name no largest batch."""

    tiers: tuple[str, ...] = ()  # by name; none named: all nine
    device: str = "cuda:0"  # the GPU, if there is one; the processor is always a target
    threads: int = 1  # of the processor, as an executor will have
    max_rows: int = 256
    definitions: tuple[str, ...] = ()  # that may be imported
    native: bool = True  # False: nobody will sign native code, so none is made


def compile(
    folder: Path,
    targets: Targets,
    out: Path,
    settings: CompilingSettings,
    progress: Progress = lambda step: None,
) -> CompileReport:
    """Compile the version in `folder`; `out` gets one folder a variant, and the report.

    Raises:
        ModelRefused: the version cannot be read, or has no definition that may be imported.
        ChimeraError: its reference cannot run its samples.
    """
    started_s, made_at_ms = time.monotonic(), time.time_ns() // 1_000_000
    workshop = prepare(folder, targets, settings)
    manifest = workshop.source.manifest
    progress(Step("reference", "making"))
    reference = _reference(workshop)
    rows = sizes(workshop.max_rows, workshop.buckets)
    expected = expect(manifest, reference, workshop.source.cases(rows))
    out.mkdir(parents=True, exist_ok=True)
    bench = Bench(workshop, expected, out, progress)
    wanted = targets.tiers or tuple(BY_NAME)
    attempts = [one for tier in TIERS for one in bench.attempts(tier, wanted=tier.name in wanted)]
    reports = measured(attempts, workshop.feeds(), settings.measure_s, progress)
    report = CompileReport(
        manifest.name,
        manifest.version,
        manifest.sha256,
        reference.tier,
        made_at_ms,
        round(time.monotonic() - started_s, 3),
        machine(),
        workshop.max_rows,
        tuple(reports),
        expected.left_out,
    )
    (out / REPORT_FILE).write_bytes(encode(report))
    return report


def prepare(folder: Path, targets: Targets, settings: CompilingSettings) -> Workshop:
    """Everything is read and nothing made. Raises ModelRefused."""
    source = read_source(folder)
    manifest = source.manifest
    largest = (manifest.max_batch_size or targets.max_rows) if manifest.batches else 1
    buckets = {*settings.batch_sizes, *manifest.preferred_batch_size}
    return Workshop(
        source,
        Place("cpu", targets.threads, targets.definitions),
        gpu.find(targets.device),
        largest,
        tuple(sorted(rows for rows in buckets if rows <= largest)) or (largest,),
        settings.int8,
        targets.native,
    )


def _reference(workshop: Workshop) -> Backend:
    manifest, place = workshop.source.manifest, workshop.place
    if not workshop.has_definition:
        from chimera.workers.backends.onnx_runtime import OnnxRuntime

        return OnnxRuntime("cpu", place.threads).load_plain(manifest, workshop.source.content)
    from chimera.workers.backends.torch_eager import TorchEager

    eager = TorchEager("cpu", place.threads, place.definitions)
    return eager.wrap(manifest, workshop.module())


def measured(
    attempts: Sequence[Attempt], feeds: measurement.Feeds, seconds: float, progress: Progress
) -> list[TierReport]:
    """All verified backends of a device in turns; the others' reports as they are.

    Raises:
        ChimeraError: as `Backend.run`.
    """
    done: dict[str, Timings] = {}
    for kind in EAGER:
        chosen = {
            one.report.variant: one
            for one in attempts
            if one.backend is not None and BY_NAME[one.report.tier].device == kind
        }
        if not chosen:
            continue
        progress(Step(", ".join(chosen), "measuring"))
        backends = {name: one.backend for name, one in chosen.items() if one.backend is not None}
        for name, steady in measurement.steady(backends, feeds, seconds).items():
            timings = chosen[name].report.timings
            assert timings is not None  # what is verified was timed
            done[name] = replace(timings, steady=steady)
    return [_with_timings(one.report, done) for one in attempts]


def _with_timings(report: TierReport, done: dict[str, Timings]) -> TierReport:
    timings = done.get(report.variant)
    if timings is None:
        return report
    eager = done.get(EAGER[BY_NAME[report.tier].device])
    if eager is not None and eager is not timings:
        timings = replace(timings, pays_after=pays_after(timings, eager))
    return replace(report, timings=timings)
