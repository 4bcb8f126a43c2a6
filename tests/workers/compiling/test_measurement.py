"""Backends whose times are known, measured."""

import time
from collections.abc import Sequence

import numpy as np

from chimera.schemas.tensors import Array
from chimera.workers.compiling import measurement
from chimera.workers.compiling.measurement import percentile, quietest, steady, warm_up


class Sleeper:
    """Takes `ms` a call, and `cold_ms` more for each of its first calls."""

    tier = "sleeper"

    def __init__(self, ms: float, cold_ms: Sequence[float] = ()) -> None:
        self._s = ms / 1000
        self._cold_s = [one / 1000 for one in cold_ms]
        self.rows: list[int] = []

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        self.rows.append(len(inputs[0]))
        time.sleep(self._s + (self._cold_s.pop(0) if self._cold_s else 0))
        return inputs


FEEDS = {rows: [np.zeros((rows, 1), "f4")] for rows in (1, 4)}


def test_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (50, 99)
    assert percentile([7.0], 0.99) == 7
    assert percentile([1.0, 2.0], 1.0) == 2


def test_first_call_and_warm_up_have_what_cold_calls_cost() -> None:
    backend = Sleeper(2, [60, 30])
    first_ms, total_ms = warm_up(backend, FEEDS)
    assert 62 <= first_ms <= total_ms
    assert total_ms >= 62 + 32
    assert set(backend.rows) == {1, 4}
    assert backend.rows[0] == 1


def test_warm_up_of_what_never_gets_steady_ends() -> None:
    started_s = time.monotonic()
    warm_up(Sleeper(1, [10 * (at % 7) for at in range(4_000)]), {1: FEEDS[1]})
    assert time.monotonic() - started_s < measurement.WARM_S * 3


def test_steady_state_orders_backends_and_takes_about_its_time() -> None:
    backends = {"slow": Sleeper(4), "fast": Sleeper(1)}
    started_s = time.monotonic()
    found = steady(backends, FEEDS, 0.1)
    assert time.monotonic() - started_s < 0.1 * 4 * measurement.OVER + 3
    for slow, fast in zip(found["slow"], found["fast"], strict=True):
        assert slow.rows == fast.rows
        assert 4 <= slow.p50_ms
        assert 1 <= fast.p50_ms < slow.p50_ms
        assert slow.p50_ms <= slow.p99_ms


def test_rounds_of_a_busy_machine_do_not_count_for_anybody() -> None:
    calm = [{"a": [1.0, 1.1], "b": [10.0, 10.0]} for _ in range(5)]
    busy = [{"a": [1.0, 1.0], "b": [30.0, 40.0]} for _ in range(5)]
    mixed = [busy[0], calm[0], busy[1], calm[1], calm[2], busy[2], busy[3], calm[3], calm[4]]
    assert quietest(mixed) == calm


def test_slow_backend_has_enough_runs_all_the_same() -> None:
    found = steady({"slow": Sleeper(20)}, {1: FEEDS[1]}, 0.1)
    assert found["slow"][0].runs >= measurement.COUNTED * 2
