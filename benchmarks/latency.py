"""Latency at a given rate, from the scheduled send time to the reader (open loop).

Request i is due at S + i/R whatever happened before it, so a stall counts for all that it delays.
The producer (confluent-kafka, linger 1 ms) and the reader are processes of their own; their own
CPU share and lateness are in the report. The warm-up is left out.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.contenders import Contender
from benchmarks.sitting import Report, Sitting, best, summary
from benchmarks.trial import Trial

PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")
OURS = ("exactly_once", "at_least_once")


def run(
    sitting: Sitting,
    contenders: Sequence[Contender],
    *,
    rate: float,
    seconds: float,
    warmup_s: float,
) -> Report:
    """All rounds; see `report` for what comes back."""

    def one(trial: Trial) -> Report:
        found = trial.latency(rate, seconds, warmup_s)
        sitting.say(
            f"{trial.contender.name}: p50 {found.get('p50_ms')} ms, p99 {found.get('p99_ms')} ms"
        )
        return found

    raw, left_out = sitting.play(contenders, one)
    head = sitting.head("latency") | {"rate": rate, "seconds": seconds, "warmup_s": warmup_s}
    return {**head, **report(raw, left_out)}


def report(raw: dict[str, list[Report]], left_out: dict[str, str]) -> Report:
    """{exactly_once, at_least_once, txn_loop}{p50_ms, p95_ms, p99_ms}, figures, ratios."""
    kept = {name: [one for one in found if "p50_ms" in one] for name, found in raw.items()}
    medians = {
        name: {key: round(statistics.median(one[key] for one in found), 2) for key in PERCENTILES}
        for name, found in kept.items()
        if found
    }
    middle = {name: figures["p50_ms"] * figures["p99_ms"] for name, figures in medians.items()}
    loop = best(middle, [name for name in medians if "txn_loop" in name], least=True)
    return {
        **{name: medians.get(name) for name in OURS},
        "txn_loop": medians.get(loop) if loop else None,
        "loop": loop,
        "ratios": _ratios(medians, loop),
        "contenders": {name: _figures(found) for name, found in kept.items() if found},
        "not_run": left_out,
        "raw": raw,
    }


def _ratios(medians: dict[str, dict[str, float]], loop: str | None) -> dict[str, Any]:
    if loop is None:
        return {}
    return {
        f"{mine} / txn_loop": {
            key: round(medians[mine][key] / medians[loop][key], 3) for key in PERCENTILES
        }
        for mine in OURS
        if mine in medians
    }


def _figures(found: list[Report]) -> dict[str, Any]:
    def median(*path: str) -> float:
        return round(statistics.median(_at(one, path) for one in found), 3)

    return {
        **{key: summary([one[key] for one in found]) for key in PERCENTILES},
        "until_append_p50_ms": median("until_append", "p50_ms"),
        "append_to_visible_p50_ms": median("append_to_visible", "p50_ms"),
        "lost": sum(one["lost"] for one in found),
        "repeated": sum(one["repeated"] for one in found),
        "cpu_share": median("contender_cpu_share"),
        "broker_cpu_share": median("broker_cpu_share"),
        "reader_cpu_share": median("reader_cpu_share"),
        "producer_cpu_share": median("producer", "cpu_share"),
        "producer_late_p99_ms": median("producer", "late_ms", "p99"),
        "request_acknowledged_p50_ms": median("producer", "acknowledged_ms", "p50"),
        "stories": found[-1]["stories"],
    }


def _at(one: Any, path: Sequence[str]) -> float:
    for name in path:
        one = one[name]
    return float(one)
