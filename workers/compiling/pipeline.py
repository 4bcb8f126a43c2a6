"""Compiles a version into its tiers, verifies each against the reference, and measures what is right.

    reference ── cases ── for each tier: made ── loaded ── verified ── warm ── all measured in turns

For a process of its own: it holds torch, compilers and every verified tier at once. A tier that cannot
be made, loaded or verified says why and hides no other; its files are removed. The reference is the
eager fp32 module, or, for a version that is an ONNX graph, that graph with nothing optimised.
`tests/workers/compiling/test_pipeline.py`.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from chimera.schemas.compile_report import (
    REPORT_FILE,
    CompileReport,
    Precision,
    TierReport,
    Timings,
    encode,
)
from chimera.schemas.errors import ChimeraError
from chimera.schemas.manifest import File
from chimera.schemas.settings import CompilingSettings
from chimera.schemas.tiers import BY_NAME, TIERS, Tier
from chimera.workers import measurement
from chimera.workers.backends.opening import Artifact, Place, open_artifact
from chimera.workers.backends.protocol import Backend, DeviceLost
from chimera.workers.compiling import gpu, recipes, targets
from chimera.workers.compiling.costs import pays_after
from chimera.workers.compiling.source import Source, read_source
from chimera.workers.compiling.workshop import Workshop
from chimera.workers.verification.cases import sizes
from chimera.workers.verification.tolerances import TOLERANCES
from chimera.workers.verification.verdicts import Expected, expect, judge

DEFAULT = CompilingSettings()
EAGER = {"cpu": "torch-cpu", "cuda": "torch-cuda"}


class Step(msgspec.Struct, frozen=True):
    """Progress: what is being done to a variant, or what became of it."""

    variant: str
    stage: str  # making, loading, verifying, warming, measuring, or the verdict
    detail: str = ""


Progress = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A report without steady timings, and the backend if it is verified."""

    report: TierReport
    backend: Backend | None = None


def compile(
    folder: Path,
    out: Path,
    *,
    tiers: Sequence[str] = (),
    device: str = "cuda:0",
    threads: int = 1,
    max_rows: int = 256,
    settings: CompilingSettings = DEFAULT,
    progress: Progress = lambda step: None,
) -> CompileReport:
    """Make the tiers named (none named: all nine) of the version in `folder` into `out`.

    `out` gets one folder a variant and the report. `device` is the GPU, if there is one; `max_rows`
    is for manifests that name no largest batch.

    Raises:
        ModelRefused: the version itself cannot be read, or its reference cannot run its samples.
    """
    started_s, made_at_ms = time.monotonic(), time.time_ns() // 1_000_000
    workshop = prepare(folder, device, threads, max_rows, settings)
    manifest = workshop.source.manifest
    out.mkdir(parents=True, exist_ok=True)
    progress(Step("reference", "making"))
    reference = _reference(workshop)
    rows = sizes(workshop.max_rows, workshop.buckets)
    try:
        expected = expect(manifest, reference, workshop.source.cases(rows))
    except DeviceLost:  # the reference runs on the processor
        raise
    attempts: list[Attempt] = []
    for tier in TIERS:
        attempts += _attempts(tier, workshop, expected, out, (tiers, progress))
    reports = _measured(attempts, workshop, settings.measure_s, progress)
    report = CompileReport(
        manifest.name,
        manifest.version,
        manifest.sha256,
        reference.tier,
        made_at_ms,
        round(time.monotonic() - started_s, 3),
        targets.machine(),
        workshop.max_rows,
        tuple(reports),
        expected.left_out,
    )
    (out / REPORT_FILE).write_bytes(encode(report))
    return report


def prepare(
    folder: Path, device: str, threads: int, max_rows: int, settings: CompilingSettings
) -> Workshop:
    """Everything is read and nothing made. Raises ModelRefused."""
    source = read_source(folder)
    manifest = source.manifest
    largest = (manifest.max_batch_size or max_rows) if manifest.batches else 1
    buckets = {rows for rows in (*settings.batch_sizes, *manifest.preferred_batch_size)}
    return Workshop(
        source,
        Place("cpu", threads, settings.definitions),
        gpu.find(device),
        largest,
        tuple(sorted(rows for rows in buckets if rows <= largest)) or (largest,),
        settings.int8,
    )


def _reference(workshop: Workshop) -> Backend:
    manifest, place = workshop.source.manifest, workshop.place
    if not workshop.has_definition:
        from chimera.workers.backends.onnx_runtime import OnnxRuntime

        return OnnxRuntime("cpu", place.threads).load_plain(manifest, workshop.source.content)
    from chimera.workers.backends.torch_eager import TorchEager

    eager = TorchEager("cpu", place.threads, place.definitions)
    return eager.wrap(manifest, workshop.module())


def _attempts(
    tier: Tier,
    workshop: Workshop,
    expected: Expected,
    out: Path,
    asked: tuple[Sequence[str], Progress],
) -> list[Attempt]:
    wanted, progress = asked
    reason = (
        "not asked for" if wanted and tier.name not in wanted else recipes.obstacle(tier, workshop)
    )
    if reason:
        precision: Precision = "fp16" if tier.name.endswith("fp16") else "fp32"
        skipped = TierReport(tier.name, precision, "skipped", reason)
        progress(Step(skipped.variant, "skipped", reason))
        return [Attempt(skipped)]
    found: list[Attempt] = []
    for precision in recipes.precisions(tier, workshop):
        attempt = _attempt(tier, precision, workshop, (expected, out, progress))
        report = attempt.report
        progress(Step(report.variant, report.verdict, report.reason))
        if report.verdict != "verified":
            shutil.rmtree(out / report.variant, ignore_errors=True)
        found.append(attempt)
    return found


def _attempt(
    tier: Tier,
    precision: Precision,
    workshop: Workshop,
    rest: tuple[Expected, Path, Progress],
) -> Attempt:
    """Make, load, verify and warm one variant."""
    expected, out, progress = rest
    source = workshop.source
    report = TierReport(tier.name, precision, "failed", tolerance=TOLERANCES[precision])
    folder = out / report.variant
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    artifact = Artifact(source.manifest, tier.name, precision, folder, source.content)
    feeds = {rows: source.inputs(rows) for rows in workshop.buckets}
    try:
        progress(Step(report.variant, "making"))
        workshop.credited_s, started_s = 0.0, time.monotonic()
        recipes.make(tier, precision, workshop, folder)
        compile_s = time.monotonic() - started_s + workshop.credited_s
        report = msgspec.structs.replace(
            report, target=recipes.target(tier, workshop), files=_files(folder)
        )
        progress(Step(report.variant, "loading"))
        started_s = time.monotonic()
        backend = open_artifact(artifact, workshop.place_of(tier))
        load_ms = (time.monotonic() - started_s) * 1000
        progress(Step(report.variant, "warming"))
        first_ms, warm_up_ms = measurement.warm_up(backend, feeds)
        progress(Step(report.variant, "verifying"))
        judgement = judge(backend, expected, TOLERANCES[precision])
    except (ChimeraError, MemoryError) as error:
        return Attempt(msgspec.structs.replace(report, files={}, reason=_told(error)))
    timings = Timings(*(round(one, 3) for one in (compile_s, load_ms, first_ms, warm_up_ms)))
    report = msgspec.structs.replace(report, checks=judgement.checks, timings=timings)
    if judgement.reason:
        rejected = msgspec.structs.replace(report, verdict="rejected", reason=judgement.reason)
        return Attempt(msgspec.structs.replace(rejected, files={}))
    return Attempt(msgspec.structs.replace(report, verdict="verified"), backend)


def _measured(
    attempts: Sequence[Attempt], workshop: Workshop, seconds: float, progress: Progress
) -> list[TierReport]:
    """All verified backends of a device in turns; the others' reports as they are."""
    feeds = {rows: workshop.source.inputs(rows) for rows in workshop.buckets}
    done: dict[str, Timings] = {}
    for kind in EAGER:
        chosen = {
            one.report.variant: one.backend
            for one in attempts
            if one.backend is not None and BY_NAME[one.report.tier].device == kind
        }
        if chosen:
            progress(Step(", ".join(chosen), "measuring"))
        for name, steady in measurement.steady(chosen, feeds, seconds).items():
            timings = next(one.report.timings for one in attempts if one.report.variant == name)
            assert timings is not None  # what is verified was timed
            done[name] = msgspec.structs.replace(timings, steady=steady)
    reports: list[TierReport] = []
    for one in attempts:
        timings = done.get(one.report.variant)
        eager = done.get(EAGER[BY_NAME[one.report.tier].device])
        if timings is not None and eager is not None and timings is not eager:
            timings = msgspec.structs.replace(timings, pays_after=pays_after(timings, eager))
        reports.append(
            msgspec.structs.replace(one.report, timings=timings or one.report.timings)
        )
    return reports


def _files(folder: Path) -> dict[str, File]:
    found: dict[str, File] = {}
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        found[path.name] = File(hashlib.sha256(content).hexdigest(), len(content))
    return found


def _told(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:500]


