"""What the demo has to say at its end, and as JSON for programs.

`requests` and what belongs to it are of the traffic that `--requests` asked for; `lost`, `duplicated`
and `mismatched` are of all requests, those during the promotion among them.
`tests/cli/demoing/test_report.py`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chimera.cli.demoing.promotion import Promotion
from chimera.cli.demoing.recording import Recording
from chimera.cli.demoing.requests import WORSE, Plan
from chimera.cli.demoing.traffic import Traffic
from chimera.cli.demoing.verdict import Verdict
from chimera.schemas.compile_report import CompileReport, TierReport

ACCURACY = 0.95  # what the demo must reach


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
    digests: Mapping[str, str]  # by version

    @property
    def is_good(self) -> bool:
        exact = self.verdict.is_exact and self.promoted.is_exact
        return exact and self.verdict.accuracy >= ACCURACY and self.promotion.is_taken_back

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
    digests: Mapping[str, str],
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
        digests,
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


def as_json(report: Report) -> str:
    verdict = report.verdict
    fields: dict[str, Any] = {
        "requests": verdict.requests,
        "results": verdict.results,
        "dead_letters": dict(sorted(verdict.dead_letters.items())),
        "expected": dict(sorted(verdict.expected.items())),
        **report.faults,
        "accuracy": round(verdict.accuracy, 4),
        "throughput_rps": round(report.throughput_rps, 1),
        "latency_ms": {name: round(value, 2) for name, value in report.latency_ms.items()},
        "tiers": {
            version: [_tier(one) for one in found.tiers]
            for version, found in report.compiled.items()
        },
        "promotion": _promotion(report.promotion, report.promoted),
        "rollback": _rollback(report.promotion),
    }
    return json.dumps(fields, indent=2) + "\n"


def _tier(tier: TierReport) -> dict[str, Any]:
    steady = tier.timings.steady if tier.timings else ()
    return {
        "tier": tier.variant,
        "verdict": tier.verdict,
        "reason": tier.reason,
        "p50_ms": {one.rows: one.p50_ms for one in steady},  # by rows of a batch
        "p99_ms": {one.rows: one.p99_ms for one in steady},
    }


def _promotion(promotion: Promotion, verdict: Verdict) -> dict[str, Any]:
    return {
        "version": WORSE,
        "requests": verdict.requests,
        "results": verdict.results,
        "answered": dict(sorted(verdict.answered.items())),  # by version
        "right": dict(sorted(verdict.right.items())),
        "visible_after_s": _seconds(promotion.after_s(promotion.served.first_s.get(WORSE, 0.0))),
    }


def _rollback(promotion: Promotion) -> dict[str, Any]:
    judged, done = promotion.judged, promotion.rolled_back
    return {
        "is_automatic": done is not None and done.is_automatic,
        "reason": judged.reason if judged else (done.reason if done else ""),
        "judged_after_s": _seconds(promotion.after_s(promotion.judged_s)),
        "visible_after_s": _seconds(promotion.after_s(promotion.served.since_s)),
        "restored": list(done.restored) if done else [],
    }


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
