"""One variant of a tier: made, loaded, warmed, verified; what goes wrong is its verdict.

    skipped    it cannot be made here                failed    its compiler or its loading raised
    rejected   it is made and wrong                  verified  it may serve

Files stay only where the verdict is verified. `tests/workers/compiling/test_pipeline.py`.
"""

import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from chimera.schemas.compile_report import Precision, Step, TierReport, Timings
from chimera.schemas.errors import ChimeraError
from chimera.schemas.manifest import File
from chimera.schemas.tiers import Tier
from chimera.workers.backends.opening import Artifact, open_artifact
from chimera.workers.backends.protocol import Backend
from chimera.workers.compiling import measurement, recipes
from chimera.workers.compiling.workshop import Workshop
from chimera.workers.verification.tolerances import TOLERANCES
from chimera.workers.verification.verdicts import Expected, judge

Progress = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A report without steady timings, and the backend if it is verified."""

    report: TierReport
    backend: Backend | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """What all attempts have in common."""

    workshop: Workshop
    expected: Expected
    out: Path
    progress: Progress

    def attempts(self, tier: Tier, *, wanted: bool) -> list[Attempt]:
        """Every variant of a tier, or the reason why there is none."""
        reason = recipes.obstacle(tier, self.workshop) if wanted else "not asked for"
        if reason:
            precision: Precision = "fp16" if tier.name.endswith("fp16") else "fp32"
            found = [Attempt(TierReport(tier.name, precision, "skipped", reason))]
        else:
            variants = recipes.precisions(tier, self.workshop)
            found = [self._attempt(tier, precision) for precision in variants]
        for one in found:
            self.progress(Step(one.report.variant, one.report.verdict, one.report.reason))
        return found

    def _attempt(self, tier: Tier, precision: Precision) -> Attempt:
        report = TierReport(tier.name, precision, "failed", tolerance=TOLERANCES[precision])
        folder = self.out / report.variant
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            attempt = self._make_and_judge(tier, report, folder)
        except (ChimeraError, MemoryError) as error:
            reason = (str(error) or type(error).__name__)[:500]
            attempt = Attempt(replace(report, reason=reason))
        if attempt.report.verdict != "verified":
            shutil.rmtree(folder)
        return attempt

    def _make_and_judge(self, tier: Tier, report: TierReport, folder: Path) -> Attempt:
        """Raises ChimeraError, MemoryError."""
        workshop, source = self.workshop, self.workshop.source
        self.progress(Step(report.variant, "making"))
        workshop.credited_s, started_s = 0.0, time.monotonic()
        recipes.make(tier, report.precision, workshop, folder)
        compile_s = time.monotonic() - started_s + workshop.credited_s
        self.progress(Step(report.variant, "loading"))
        artifact = Artifact(source.manifest, tier.name, report.precision, folder, source.content)
        started_s = time.monotonic()
        backend = open_artifact(artifact, workshop.place_of(tier))
        load_ms = (time.monotonic() - started_s) * 1000
        self.progress(Step(report.variant, "warming"))
        first_ms, warm_up_ms = measurement.warm_up(backend, workshop.feeds())
        self.progress(Step(report.variant, "verifying"))
        judgement = judge(backend, self.expected, TOLERANCES[report.precision])
        report = replace(
            report,
            verdict="rejected" if judgement.reason else "verified",
            reason=judgement.reason,
            target=recipes.target(tier, workshop),
            files={} if judgement.reason else _files(folder),
            checks=judgement.checks,
            timings=Timings(
                round(compile_s, 3), round(load_ms, 3), round(first_ms, 3), round(warm_up_ms, 3)
            ),
        )
        return Attempt(report, None if judgement.reason else backend)


def _files(folder: Path) -> dict[str, File]:
    found: dict[str, File] = {}
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        found[path.name] = File(hashlib.sha256(content).hexdigest(), len(content))
    return found
