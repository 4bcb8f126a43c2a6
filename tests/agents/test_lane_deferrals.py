"""What a lane does with requests that no executor may compute now: they wait, and nothing is lost."""

import time

from chimera.agents.lanes.outcomes import Error
from chimera.schemas.errors import ModelFailed
from tests.agents.lanes import Bench, Kafka

LONG_S = 3_600.0


def now() -> tuple[float, int]:
    return time.monotonic(), time.time_ns() // 1_000_000


def tick(bench: Bench, after_s: float = 0.0) -> None:
    seconds, ms = now()
    bench.lane.tick(seconds + after_s, ms + int(after_s * 1_000))


def codes(bench: Bench) -> list[str]:
    outcomes = [outcome for _, outcome in bench.lane.prefix(100)]
    return [outcome.code if isinstance(outcome, Error) else "ok" for outcome in outcomes]


def test_paused_requests_wait_for_as_long_as_it_takes_and_are_submitted_once() -> None:
    bench = Bench().open()
    bench.executors.paused = {"digits"}
    bench.put(Kafka(0), Kafka(1), Kafka(2))
    bench.defer(0, 2)
    bench.answer(1)
    for _ in range(3):
        tick(bench, LONG_S)
    assert bench.executors.offsets() == [[0, 1, 2]] and bench.decided() == []
    bench.executors.paused.clear()
    tick(bench, LONG_S)
    tick(bench, LONG_S)
    assert bench.executors.offsets() == [[0, 1, 2], [0, 2]]
    bench.answer(0, 2)
    assert codes(bench) == ["ok"] * 3


def test_requests_that_came_back_after_the_end_of_the_pause_are_submitted_at_once() -> None:
    bench = Bench().open()
    bench.put(Kafka(0))
    bench.defer(0)
    tick(bench)
    assert bench.executors.offsets() == [[0], [0]]


def test_age_of_a_request_begins_anew_after_its_wait() -> None:
    bench = Bench(decide_within_ms=30_000).open()
    bench.executors.paused = {"digits"}
    bench.put(Kafka(0))
    bench.put(Kafka(1))
    bench.defer(0)
    bench.answer(1)
    tick(bench, LONG_S)
    bench.executors.paused.clear()
    tick(bench, LONG_S)
    tick(bench, LONG_S + 29)
    assert bench.decided() == []
    tick(bench, LONG_S + 31)
    assert codes(bench) == ["backend_unavailable", "ok"]


def test_time_of_a_wait_does_not_count_for_an_age_that_is_not_over_yet() -> None:
    bench = Bench(decide_within_ms=30_000).open()
    bench.executors.paused = {"digits"}
    bench.put(Kafka(0), Kafka(1))
    bench.defer(0)
    tick(bench, 20)
    bench.executors.paused.clear()
    tick(bench, 20)
    tick(bench, 31)
    assert bench.executors.offsets() == [[0, 1], [0]] and bench.decided() == []
    bench.answer(0)
    assert codes(bench) == ["ok", "backend_unavailable"]


def test_deadline_of_a_paused_request_is_answered() -> None:
    bench = Bench(deadline_tolerance_ms=0).open()
    bench.executors.paused = {"digits"}
    at = str(now()[1] + 50).encode()
    bench.put(Kafka(0, headers=[("chimera-deadline", at)]), Kafka(1))
    bench.defer(0, 1)
    tick(bench, 1)
    assert codes(bench) == ["deadline_exceeded"]
    bench.executors.paused.clear()
    tick(bench, 1)
    assert bench.executors.offsets() == [[0, 1], [1]]


def test_block_that_is_handed_back_is_read_and_waits_record_by_record() -> None:
    bench = Bench().open()
    bench.executors.paused = {"digits"}
    bench.put_raw(0, 100)
    assert len(bench.executors.blocks) == 1
    bench.defer(*range(100))
    tick(bench, LONG_S)
    assert bench.executors.submitted == [] and bench.lane.deferred == 100
    bench.executors.paused.clear()
    tick(bench, LONG_S)
    assert bench.executors.offsets() == [list(range(100))]
    bench.answer(*range(100))
    assert bench.decided() == list(range(100))


def test_block_of_which_some_wait_is_not_submitted_twice_when_its_executor_dies() -> None:
    bench = Bench().open()
    bench.executors.paused = {"digits"}
    bench.put_raw(0, 100)
    (block,) = bench.executors.blocks
    bench.defer(*range(0, 100, 2))
    bench.lane.unread(block, ())
    assert bench.executors.offsets() == [list(range(1, 100, 2))]


def test_wait_counts_for_nothing_when_a_request_failed_before() -> None:
    bench = Bench(inline_retry_ms=5_000, decide_within_ms=30_000).open()
    bench.put(Kafka(0))
    bench.fail(0, ModelFailed)
    tick(bench, 0.1)
    assert bench.executors.offsets() == [[0], [0]]
    _, ms = now()
    bench.defer(0, until_ms=ms + 60_000)
    tick(bench, 61)
    assert bench.executors.offsets() == [[0], [0], [0]]
    bench.fail(0, ModelFailed)
    assert bench.decided() == [], "the outage goes on: it is tried again"


def test_suspect_that_waited_is_computed_alone() -> None:
    bench = Bench().open(0, {0: 1})
    bench.executors.paused = {"digits"}
    bench.put(Kafka(0), Kafka(1))
    assert [work.isolate for work in bench.executors.submitted] == [False, True]
    bench.defer(0, 1)
    bench.executors.paused.clear()
    tick(bench)
    again = bench.executors.submitted[2:]
    assert [(list(work.offsets), work.isolate) for work in again] == [([1], False), ([0], True)]


def test_full_window_of_paused_requests_pauses_its_partition() -> None:
    bench = Bench(window_records=100).open()
    bench.executors.paused = {"digits"}
    bench.put(*(Kafka(offset) for offset in range(100)))
    bench.defer(*range(100))
    tick(bench, LONG_S)
    assert bench.flow.paused and len(bench.lane) == bench.lane.deferred == 100


def test_rollback_ends_the_wait_for_a_tier() -> None:
    bench = Bench().open()
    bench.put(Kafka(0))
    bench.defer(0, until_ms=now()[1] + 60_000)
    tick(bench, 1)
    assert bench.executors.offsets() == [[0]]
    bench.executors.turns += 1
    tick(bench, 1)
    assert bench.executors.offsets() == [[0], [0]]
