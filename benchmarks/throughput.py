"""Throughput over a backlog: requests visible per second, exactly, the same for all.

The requests topic is filled before a contender starts. The first tenth of the results is start-up
and is left out; the rate is the other nine tenths by the time they took to become visible to a
`read_committed` reader (`benchmarks.visible`). CPU is of the same span.
"""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.contenders import Contender
from benchmarks.sitting import WARM_UP_REQUESTS, Report, Sitting, best, ratio, summary
from benchmarks.trial import Trial

LIMIT_S = 180.0
OURS = ("exactly_once", "at_least_once")
LOOPS = ("loop_aiokafka x1", "loop_aiokafka x2")


def run(sitting: Sitting, contenders: Sequence[Contender], requests: int) -> Report:
    """All rounds; see `report` for what comes back."""
    warm_up = min(requests, WARM_UP_REQUESTS)
    raw, left_out = sitting.play(contenders, turn(sitting, requests), warm_up)
    return {**sitting.head("throughput"), "requests": requests, **report(contenders, raw, left_out)}


def turn(sitting: Sitting, requests: int) -> Callable[[Trial], Report]:
    """What a contender does in each round."""

    def one(trial: Trial) -> Report:
        count = max(1_000, int(requests * trial.contender.share))
        found = trial.throughput(count, LIMIT_S)
        sitting.say(f"{trial.contender.name}: {found['rps']:,.0f} requests/s")
        return found

    return one


def report(
    contenders: Sequence[Contender], raw: dict[str, list[Report]], left_out: dict[str, str]
) -> Report:
    """`exactly_once_rps`, `at_least_once_rps`, `loop_rps`, each contender's figures, the ratios."""
    medians = {
        name: statistics.median(one["rps"] for one in found) for name, found in raw.items() if found
    }
    loop = best(medians, LOOPS)
    promises = {contender.name: contender.promises for contender in contenders}
    figures = {
        name: _figures(found, medians[name], medians.get(loop or ""), promises[name])
        for name, found in raw.items()
        if found
    }
    return {
        **{f"{name}_rps": _rounded(medians.get(name)) for name in OURS},
        "loop_rps": _rounded(medians.get(loop)) if loop else None,
        "loop": loop,
        "contenders": figures,
        "not_run": left_out,
        "ratios": _ratios(medians, raw),
        "raw": raw,
    }


def _figures(
    found: list[Report], median: float, loop: float | None, promises: str
) -> dict[str, Any]:
    return {
        "promises": promises,
        "rps": summary([one["rps"] for one in found]),
        "to_loop": round(median / loop, 3) if loop else None,
        "requests": found[0]["wanted"],
        "lost": sum(one["lost"] for one in found),
        "repeated": sum(one["repeated"] for one in found),
        "cpu_us": _median(found, "contender_cpu_us"),
        "broker_cpu_us": _median(found, "broker_cpu_us"),
        "reader_cpu_share": _median(found, "reader_cpu_share"),
        "batch_size": _batch_size(found),
    }


def _ratios(medians: dict[str, float], raw: dict[str, list[Report]]) -> dict[str, Any]:
    """Ours to each rival's best: of the medians, and the range over single rounds."""
    rivals: dict[str, list[str]] = {}
    for name in medians:
        if name not in OURS:
            rivals.setdefault(name.partition(" x")[0], []).append(name)
    found: dict[str, Any] = {}
    for mine in (name for name in OURS if name in medians):
        for rival, names in rivals.items():
            against = best(medians, names)
            assert against is not None
            both = ([one["rps"] for one in raw[name]] for name in (mine, against))
            found[f"{mine} / {rival}"] = ratio(*both) | {"against": against}
    return found


def _median(found: list[Report], name: str) -> float:
    return round(float(statistics.median(one[name] for one in found)), 3)


def _batch_size(found: list[Report]) -> float | None:
    sizes = [one["stories"].get("chimera-batch-size") for one in found]
    there = [size for size in sizes if size is not None]
    return statistics.median(there) if there else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
