"""What the demo has to say at its end, and whether all of it is good.

The verdict is over the traffic that `--requests` asked for, `promoted` over the requests during the
promotion; faults are those of both. `tests/cli/demoing/test_report.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chimera.cli.demoing.keeping import Kept
from chimera.cli.demoing.lessons import Lesson
from chimera.cli.demoing.orders import METRIC
from chimera.cli.demoing.promotion import Promotion
from chimera.cli.demoing.recording import Recording
from chimera.cli.demoing.requests import Plan
from chimera.cli.demoing.traffic import Traffic
from chimera.cli.demoing.verdict import Verdict
from chimera.schemas.compile_report import CompileReport
from chimera.workers.training import history
from chimera.workers.training.history import Place

ACCURACY = 0.95  # what the demo must reach


@dataclass(frozen=True, slots=True)
class Training:
    """Both runs, and the board that ranks them."""

    first: Lesson
    second: Lesson
    board: tuple[Place, ...]

    @classmethod
    def of(cls, lessons: tuple[Lesson, Lesson], runs: Path) -> "Training":
        return cls(*lessons, history.build_leaderboard(history.read(runs), METRIC, "max"))

    @property
    def is_good(self) -> bool:
        """The second one's data have drifted, the first one's had nothing to drift from."""
        is_alarmed = self.second.drift is not None and self.first.drift is None
        ranked = {place.run_id for place in self.board}
        return is_alarmed and ranked == {self.first.version, self.second.version}


@dataclass(frozen=True, slots=True)
class Report:
    verdict: Verdict
    throughput_rps: float
    burst: int
    latency_ms: Mapping[str, float]  # p50, p95, p99
    paced: int
    kinds: Mapping[str, str]  # error code -> what was sent to get it
    compiled: Mapping[str, CompileReport]  # by version
    promotion: Promotion
    promoted: Verdict  # over the requests of the promotion
    training: Training
    kept: Kept

    @property
    def is_good(self) -> bool:
        exact = self.verdict.is_exact and self.promoted.is_exact
        served = exact and self.verdict.accuracy >= ACCURACY and self.promotion.is_taken_back
        return served and self.training.is_good and self.kept.evidence.is_good

    @property
    def digests(self) -> dict[str, str]:
        """By version."""
        return {one.version: one.digest for one in (self.training.first, self.training.second)}

    @property
    def faults(self) -> dict[str, int]:
        """Over all requests."""
        return {
            name: getattr(self.verdict, name) + getattr(self.promoted, name)
            for name in ("lost", "duplicated", "mismatched")
        }


def report(
    traffic: Traffic,
    plan: Plan,
    recording: Recording,
    promotion: Promotion,
    *,
    verdicts: tuple[Verdict, Verdict],
    compiled: Mapping[str, CompileReport],
    training: Training,
    kept: Kept,
) -> Report:
    """`verdicts`: over the traffic, and over the requests of the promotion."""
    latencies = traffic.latencies_ms(recording)
    return Report(
        verdicts[0],
        traffic.throughput_rps,
        traffic.burst,
        percentiles(latencies),
        len(latencies),
        _kinds(plan),
        compiled,
        promotion,
        verdicts[1],
        training,
        kept,
    )


def _kinds(plan: Plan) -> dict[str, str]:
    kinds: dict[str, str] = {}
    for request in plan.burst:
        if request.code is not None and request.kind not in kinds.get(request.code, ""):
            known = kinds.get(request.code)
            kinds[request.code] = f"{known}, {request.kind}" if known else request.kind
    return kinds


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p95 and p99 by nearest rank; nothing where there are no values."""
    ordered = sorted(values)
    if not ordered:
        return {}
    return {f"p{rank}": ordered[-(-rank * len(ordered) // 100) - 1] for rank in (50, 95, 99)}
