"""How long backends take, on a clock that only goes forward: first call, warm-up, steady state.

Steady state is measured in turns: in each round each backend runs for a slice of its time, so that a
busy machine slows all of them alike, and of the rounds the quieter half counts, the same rounds for
every backend: what else the machine did is no tier's fault. Percentiles are nearest rank, of single
calls. `tests/workers/compiling/test_measurement.py` measures backends whose times are known.
"""

import math
import time
from collections.abc import Mapping, Sequence

from chimera.schemas.compile_report import Steady
from chimera.schemas.tensors import Array
from chimera.workers.backends.protocol import Backend

Feeds = Mapping[int, Sequence[Array]]
"""Rows of a batch -> its inputs."""

ROUNDS = 10
COUNTED = 5  # of the rounds
MIN_RUNS = 40  # over all rounds
OVER = 4.0  # a slow backend may take this many times its share until it has enough runs
FLOOR_MS = 1e-6  # a clock that did not move
WARM_S = 2.0  # per batch size, at most
STEADY_RUNS, STEADY_WITHIN = 3, 1.2  # so many calls within so much of the fastest: it is warm


def warm_up(backend: Backend, feeds: Feeds, within_s: float = WARM_S) -> tuple[float, float]:
    """The first call, and all calls until they were steady at each batch size; milliseconds.

    `within_s`: for each batch size; a call is never cut short.

    Raises:
        ChimeraError: as `Backend.run`.
    """
    first_ms = total_ms = 0.0
    for rows in sorted(feeds):
        times: list[float] = []
        while not times or sum(times) < within_s * 1000:
            times.append(_call_ms(backend, feeds[rows]))
            recent = times[-STEADY_RUNS:]
            if len(times) > STEADY_RUNS and max(recent) <= min(times) * STEADY_WITHIN:
                break
        first_ms = first_ms or times[0]
        total_ms += sum(times)
    return first_ms, total_ms


def steady(
    backends: Mapping[str, Backend], feeds: Feeds, seconds: float
) -> dict[str, tuple[Steady, ...]]:
    """Percentiles of each backend at each batch size, `seconds` each; a slow one takes longer.

    Raises:
        ChimeraError: as `Backend.run`.
    """
    found: dict[str, list[Steady]] = {name: [] for name in backends}
    for rows, inputs in sorted(feeds.items()):
        rounds = [
            {name: _run_slice(one, inputs, seconds / ROUNDS) for name, one in backends.items()}
            for _ in range(ROUNDS)
        ]
        for name in backends:
            times = [time for counted in quietest(rounds) for time in counted[name]]
            p50, p99 = percentile(times, 0.50), percentile(times, 0.99)
            found[name].append(Steady(rows, len(times), round(p50, 6), round(p99, 6)))
    return {name: tuple(measured) for name, measured in found.items()}


def quietest(
    rounds: Sequence[Mapping[str, Sequence[float]]],
) -> list[Mapping[str, Sequence[float]]]:
    """The rounds in which all backends together were least slowed down, as ratios to their best."""
    best = {
        name: max(min(percentile(one[name], 0.5) for one in rounds), FLOOR_MS) for name in rounds[0]
    }

    def slowness(one: Mapping[str, Sequence[float]]) -> float:
        return math.fsum(math.fsum(one[name]) / len(one[name]) / best[name] for name in best)

    return sorted(rounds, key=slowness)[:COUNTED]


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank: a value that was really measured."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _run_slice(backend: Backend, inputs: Sequence[Array], seconds: float) -> list[float]:
    """Runs for its time; then until there are enough, if that is not much longer."""
    times: list[float] = []
    started_s = time.monotonic()
    while (spent_s := time.monotonic() - started_s) < seconds or (
        len(times) < MIN_RUNS // ROUNDS and spent_s < seconds * OVER
    ):
        times.append(_call_ms(backend, inputs))
    return times


def _call_ms(backend: Backend, inputs: Sequence[Array]) -> float:
    started_ns = time.perf_counter_ns()
    backend.run(inputs)
    return (time.perf_counter_ns() - started_ns) / 1e6
