"""Slow models and lanes: all of a backlog is answered, whatever it takes; what stands still is ended."""

import time

import pytest

from chimera.agents.lanes.outcomes import Error
from chimera.schemas.settings import Settings
from tests.agents.lanes import Bench, Kafka

RUN = Settings().fetch.max_run_records
WITHIN_S = Settings().serving.decide_within_ms / 1000


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1_000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)

    def tick(self, bench: Bench, for_s: float, *, moves: bool) -> None:
        """`moves`: executors that have something of the lane get on meanwhile."""
        self.now_s += for_s
        if moves:
            bench.executors.got_on_at_s = self.now_s
        bench.lane.tick(self.now_s, int(self.now_s * 1_000))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def codes(bench: Bench) -> list[str]:
    outcomes = [outcome for _, outcome in bench.lane.prefix(1 << 20)]
    return [outcome.code if isinstance(outcome, Error) else "ok" for outcome in outcomes]


def put(bench: Bench, first: int, count: int) -> None:
    bench.put(*map(Kafka, range(first, first + count)))


@pytest.mark.parametrize(("backlog", "request_s"), [(4_000, 0.02), (600, 3.0)])
def test_backlog_of_a_slow_model_is_answered_whole_and_little_of_it_is_held(
    clock: Clock, backlog: int, request_s: float
) -> None:
    bench = Bench().open()
    came, fullest, found = 0, 0, list[str]()
    for offset in range(backlog):
        while not bench.flow.paused and came < backlog:
            put(bench, came, min(RUN, backlog - came))
            came += min(RUN, backlog - came)
        clock.tick(bench, request_s, moves=True)
        bench.answer(offset)
        fullest = max(fullest, len(bench.lane))
        found += codes(bench)
        bench.commit()
    assert found == ["ok"] * backlog
    assert bench.executors.withdrawn == []
    assert fullest <= 2 * RUN


def test_request_waits_while_others_of_its_lane_are_answered(clock: Clock) -> None:
    bench = Bench().open()
    put(bench, 0, 100)
    for offset in range(50):
        clock.tick(bench, 0.9 * WITHIN_S, moves=True)
        bench.answer(99 - offset)
    assert bench.decided() == []
    clock.tick(bench, 0.9 * WITHIN_S, moves=False)
    assert bench.decided() == []
    clock.tick(bench, 0.2 * WITHIN_S, moves=False)
    assert codes(bench) == ["backend_unavailable"] * 50 + ["ok"] * 50


def test_what_a_lane_has_ended_is_computed_no_more_and_makes_it_no_faster(clock: Clock) -> None:
    bench = Bench().open()
    put(bench, 0, RUN)
    bench.answer(0)
    clock.tick(bench, 1.1 * WITHIN_S, moves=False)
    assert codes(bench) == ["ok"] + ["backend_unavailable"] * (RUN - 1)
    assert bench.executors.withdrawn == list(range(1, RUN))
    bench.commit()
    assert not bench.flow.paused
    put(bench, RUN, RUN)
    assert bench.flow.paused


def test_time_without_executors_is_not_held_against_those_that_stood_before(clock: Clock) -> None:
    bench = Bench().open()
    put(bench, 0, 1)
    clock.tick(bench, 1.0, moves=True)
    clock.tick(bench, 0.9 * WITHIN_S, moves=False)
    bench.executors.available = False
    clock.tick(bench, 10 * WITHIN_S, moves=False)
    bench.executors.available = True
    clock.tick(bench, 0.05 * WITHIN_S, moves=False)
    assert bench.decided() == []
    clock.tick(bench, 0.2 * WITHIN_S, moves=False)
    assert codes(bench) == ["backend_unavailable"]


def test_requests_that_no_executor_sees_take_no_room_and_say_nothing_of_their_speed(
    clock: Clock,
) -> None:
    bench = Bench(max_request_bytes=40).open()
    bench.put(*(Kafka(offset, value=b"v" * 41) for offset in range(4 * RUN)))
    assert not bench.flow.paused and codes(bench) == ["too_large"] * 4 * RUN
    clock.tick(bench, 0.01, moves=False)
    bench.commit()
    put(bench, 4 * RUN, RUN)
    assert bench.flow.paused


def test_age_of_a_retried_request_begins_when_it_is_due(clock: Clock) -> None:
    bench = Bench(topic="inference.requests.retry.1m").open()
    due_ms = int((clock.now_s + 2 * WITHIN_S) * 1_000)
    bench.put(Kafka(0, headers=retried(due_ms)), Kafka(1, headers=retried(due_ms)))
    clock.tick(bench, 1.1 * WITHIN_S, moves=True)
    clock.tick(bench, 0.95 * WITHIN_S, moves=False)
    assert bench.executors.offsets() == [[0, 1]] and bench.decided() == []
    bench.answer(0)
    clock.tick(bench, 0.8 * WITHIN_S, moves=False)
    assert codes(bench) == ["ok"]
    clock.tick(bench, 0.3 * WITHIN_S, moves=False)
    assert codes(bench) == ["ok", "backend_unavailable"]


def retried(due_ms: int) -> list[tuple[str, bytes | None]]:
    return [
        ("chimera-orig-topic", b"inference.requests"),
        ("chimera-orig-partition", b"0"),
        ("chimera-orig-offset", b"99"),
        ("chimera-orig-timestamp", b"1700000000000"),
        ("chimera-attempt", b"1"),
        ("chimera-error-code", b"model_error"),
        ("chimera-error-message", b"it failed"),
        ("chimera-first-failure", b"1700000000001"),
        ("chimera-not-before", b"%d" % due_ms),
    ]


def test_lane_is_behind_while_much_of_its_window_is_full_or_as_much_waits_on_the_broker() -> None:
    bench = Bench().open()
    much = RUN // 2
    put(bench, 0, 10)
    assert not bench.lane.behind
    bench.flow.ends = 10 + much - 1
    assert not bench.lane.behind
    bench.flow.ends = 10 + much
    assert bench.lane.behind
    put(bench, 10, much)
    bench.flow.ends = 10 + much
    assert bench.lane.behind
