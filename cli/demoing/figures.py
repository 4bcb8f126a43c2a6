"""The demo's end as JSON, for programs.

`requests` and what belongs to it are of the traffic that `--requests` asked for; `lost`, `duplicated`
and `mismatched` are of all requests, those during the promotion among them.
`tests/cli/demoing/test_report.py`.
"""

import json
from typing import Any

from chimera.cli.demoing.evidence import Evidence
from chimera.cli.demoing.lessons import Lesson
from chimera.cli.demoing.promotion import Promotion
from chimera.cli.demoing.report import Report, Training
from chimera.cli.demoing.verdict import Verdict
from chimera.cli.demoing.versions import WORSE
from chimera.schemas.compile_report import TierReport
from chimera.schemas.transparency.notes import encode_base64


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
        "training": _training(report.training),
        "audit": _audit(report.kept.evidence),
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


def _training(training: Training) -> dict[str, Any]:
    return {
        "runs": [_run(training.first), _run(training.second)],  # in their order
        "leaderboard": [{"rank": one.rank, "run_id": one.run_id} for one in training.board],
    }


def _run(lesson: Lesson) -> dict[str, Any]:
    manifest, drift = lesson.manifest, lesson.drift
    return {
        "run_id": lesson.version,
        "metrics": dict(manifest.metrics) if manifest else {},
        "dataset_digest": manifest.dataset_digest if manifest else "",
        "duration_s": manifest.duration_s if manifest else None,
        "drift": [one.column for one in drift.columns] if drift else [],
    }


def _audit(evidence: Evidence) -> dict[str, Any]:
    verdict = evidence.verdict
    return {
        "ok": verdict.is_good,
        "leaves": verdict.leaves,
        "root": encode_base64(verdict.root),
        "signed": verdict.signed_size,
        "witnessed": verdict.witnessed_size,
        "altered": evidence.altered,
        "faults": [str(fault) for fault in evidence.found.faults],  # of the copy
    }


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
