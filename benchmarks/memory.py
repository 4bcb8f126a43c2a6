"""Resident memory of a node and its executors: under a steady stream, then over a backlog.

    stream    requests at a fixed rate for N requests
    backlog   N requests lie there when the node starts

Of the samples between the first results and the last: `first_mb` is the median of the second
tenth, `last_mb` of the last tenth, `growth_pct` the one over the other, `peak_mb` the largest of
all samples, start-up included. Flat means growth within 10 %.
"""

from typing import Any

import numpy as np

from benchmarks.contenders import Contender
from benchmarks.sitting import Report, Sitting
from benchmarks.trial import trial
from benchmarks.usage import Track

SERIES = 200  # samples of each process that a report keeps
LIMIT_S = 3_600.0


def run(sitting: Sitting, contender: Contender, *, requests: int, rate: float) -> Report:
    """Both phases, a fresh node each.

    Raises:
        NotRun: the node did not start, or ended.
    """
    phases: list[Report] = []
    for name in ("stream", "backlog"):
        sitting.say(f"{name}: {requests:,} requests, {contender.name}")
        with trial(
            sitting.broker, contender, models_dir=sitting.models_dir, work=sitting.work
        ) as one:
            if name == "stream":
                found = one.latency(rate, requests / rate, 0.0)
            else:
                found = one.throughput(requests, LIMIT_S)
            assert one.sampler is not None
            tracks = [track for track in one.sampler.tracks if track.root == "contender"]
        phases.append(
            {"name": name, "requests": requests, "lost": found["lost"]} | _processes(tracks, found)
        )
    processes = [process for phase in phases for process in phase["processes"]]
    executors = [one for one in processes if one["name"] != "node"]
    return {
        **sitting.head("memory"),
        "requests": requests,
        "rate": rate,
        "node_mb": max(one["peak_mb"] for one in processes if one["name"] == "node"),
        "executor_mb": max((one["peak_mb"] for one in executors), default=None),
        "growth_pct": max(one["growth_pct"] for one in processes),
        "phases": phases,
    }


def _processes(tracks: list[Track], found: Report) -> Report:
    node, *children = tracks  # the sampler finds the root first
    named = [("node", node)]
    named += [
        (f"executor {number}", child)
        for number, child in enumerate((one for one in children if not one.helper), 1)
    ]
    return {"processes": [_figures(name, one, found) for name, one in named if one.times]}


def _figures(name: str, track: Track, found: Report) -> dict[str, Any]:
    times, sizes = np.array(track.times), np.array(track.rss_mb)
    inside = sizes[(times >= found["begins"]) & (times <= found["ends"])]
    tenth = max(1, len(inside) // 10)
    first, last = float(np.median(inside[tenth : 2 * tenth])), float(np.median(inside[-tenth:]))
    step = max(1, len(sizes) // SERIES)
    return {
        "name": name,
        "first_mb": round(first, 1),
        "last_mb": round(last, 1),
        "peak_mb": round(float(sizes.max()), 1),
        "growth_pct": round((last / first - 1) * 100, 2),
        "series_mb": [round(float(size), 1) for size in sizes[::step]],
    }
