"""What a lane decides, and when: one request's fate at a time, then rules about all of them."""

import time

import pytest

from chimera.agents.lanes.outcomes import Error, Later
from chimera.schemas.errors import ModelFailed, SchemaInvalid
from tests.agents.lanes import Bench, Kafka


def now() -> tuple[float, int]:
    return time.monotonic(), time.time_ns() // 1_000_000


def deadline(offset: int, in_ms: int) -> Kafka:
    at = str(now()[1] + in_ms).encode()
    return Kafka(offset, headers=[("chimera-deadline", at)])


def test_lane_holds_runs_until_it_is_open() -> None:
    bench = Bench()
    bench.put(Kafka(0), Kafka(1))
    assert bench.executors.submitted == []
    bench.open(1)
    assert bench.executors.offsets() == [[1]]


def test_lane_pauses_while_it_cannot_open() -> None:
    bench = Bench()
    for offset in range(10):
        bench.put(Kafka(offset))
    assert bench.flow.paused
    bench.open(0)
    assert not bench.flow.paused
    assert [offset for run in bench.executors.offsets() for offset in run] == list(range(10))


def test_lane_commits_in_order_whatever_the_order_of_answers() -> None:
    bench = Bench().open()
    bench.put(Kafka(0), Kafka(1), Kafka(2))
    bench.answer(2)
    assert not bench.lane.decided.is_set() and bench.decided() == []
    bench.answer(0, 1)
    assert bench.lane.decided.is_set() and bench.decided() == [0, 1, 2]


def test_lane_seeks_back_when_something_was_skipped() -> None:
    bench = Bench().open()
    bench.put(Kafka(0))
    bench.put(Kafka(5), start=5)
    assert bench.flow.sought == [1]
    assert bench.executors.offsets() == [[0]]


def test_lane_gives_up_on_requests_that_stay_missing() -> None:
    bench = Bench().open()
    bench.put(Kafka(0))
    for _ in range(4):
        bench.put(Kafka(5), start=5)
    assert bench.flow.sought == [1, 1, 1] and bench.flow.paused
    assert bench.lane.lost is not None and bench.lane.lost.found == 5
    bench.answer(0)
    assert bench.decided() == [0]


def test_lane_pauses_at_its_limit_and_resumes_at_half_of_it() -> None:
    bench = Bench(window_records=100).open()
    bench.put(*(Kafka(offset) for offset in range(100)))
    assert bench.flow.paused
    bench.answer(*range(40))
    bench.commit()
    assert bench.flow.paused
    bench.answer(*range(40, 60))
    bench.commit()
    assert not bench.flow.paused


def test_lane_pauses_when_its_bytes_are_many() -> None:
    bench = Bench(window_bytes=1_000).open()
    bench.put(Kafka(0, value=b"v" * 1_001))
    assert bench.flow.paused


def test_lane_pauses_when_results_that_wait_for_one_before_them_are_many_bytes() -> None:
    bench = Bench(window_bytes=1_000).open()
    bench.put(*(Kafka(offset) for offset in range(4)))
    bench.answer(1, 2, 3, tail=b"t" * 400)
    assert not bench.flow.paused
    bench.put(Kafka(4))
    assert bench.flow.paused
    bench.answer(0)
    bench.commit()
    assert not bench.flow.paused


def test_lane_refuses_what_is_too_large_or_has_no_value() -> None:
    bench = Bench(max_request_bytes=10).open()
    bench.put(Kafka(0, value=b"v" * 11), Kafka(1, value=None), Kafka(2, value=b"{}"))
    assert bench.executors.offsets() == [[2]]
    outcomes = [outcome for _, outcome in bench.lane.prefix(10)]
    assert [outcome.code for outcome in outcomes if isinstance(outcome, Error)] == [
        "too_large",
        "malformed",
    ]


def test_lane_answers_what_is_nested_too_deeply_to_be_read() -> None:
    deep = b'{"id":"a","x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    bench = Bench(max_request_bytes=1_000).open()
    bench.put(Kafka(0, value=deep))
    [(_, outcome)] = bench.lane.prefix(10)
    assert isinstance(outcome, Error) and (outcome.code, outcome.id) == ("too_large", None)


def test_lane_answers_an_expired_request_while_the_device_is_busy() -> None:
    bench = Bench(deadline_tolerance_ms=0).open()
    bench.put(deadline(0, in_ms=50), Kafka(1))
    seconds, ms = now()
    bench.lane.tick(seconds, ms)
    assert bench.decided() == []
    bench.lane.tick(seconds + 1, ms + 1_000)
    [(_, outcome)] = bench.lane.prefix(10)
    assert isinstance(outcome, Error) and outcome.code == "deadline_exceeded"
    assert outcome.id == "a" and outcome.model == "digits"
    bench.answer(0, 1)  # the executor was too late for the first one
    assert [outcome for _, outcome in bench.lane.prefix(10)][1] == b"tail"
    assert len(bench.lane.prefix(10)) == 2


def test_lane_answers_at_once_what_had_expired_when_the_broker_appended_it() -> None:
    """Also where the clock here is behind: until a tick and an executor know, it may take hours."""
    bench, ms = Bench(deadline_tolerance_ms=100).open(), now()[1] + 3_600_000
    late = Kafka(0, headers=[("chimera-deadline", str(ms).encode())], timestamp=ms + 101)
    bench.put(late, Kafka(1))
    assert bench.executors.offsets() == [[1]]
    [(_, outcome)] = bench.lane.prefix(10)
    assert isinstance(outcome, Error) and outcome.code == "deadline_exceeded"
    assert outcome.id == "a" and outcome.model == "digits"


def test_lane_drops_an_answer_that_comes_after_its_request_was_committed() -> None:
    bench = Bench(deadline_tolerance_ms=0).open()
    bench.put(deadline(0, in_ms=10))
    seconds, ms = now()
    bench.lane.tick(seconds + 1, ms + 1_000)
    bench.commit()
    bench.answer(0)
    assert len(bench.lane) == 0 and not bench.lane.ready


def test_lane_answers_what_nothing_answered_in_time() -> None:
    bench = Bench(decide_within_ms=1_000).open()
    seconds, ms = now()
    bench.put(Kafka(0))
    bench.lane.tick(seconds + 0.9, ms + 900)
    assert bench.decided() == []
    seconds, ms = now()
    bench.lane.tick(seconds + 1.1, ms + 1_100)
    [(_, outcome)] = bench.lane.prefix(10)
    assert isinstance(outcome, Error) and outcome.code == "backend_unavailable"


def test_lane_lets_no_time_run_out_while_no_executor_lives() -> None:
    bench = Bench(decide_within_ms=1_000).open()
    seconds, ms = now()
    bench.put(Kafka(0))
    bench.executors.available = False
    for step in range(1, 31):
        bench.lane.tick(seconds + step * 0.1, ms + step * 100)
    bench.executors.available = True
    bench.lane.tick(seconds + 3.1, ms + 3_100)
    assert bench.decided() == []
    seconds, ms = now()
    bench.lane.tick(seconds + 4.2, ms + 4_200)
    assert bench.decided() == [0]


def test_lane_tries_a_retriable_failure_again_without_letting_others_pass() -> None:
    bench = Bench(inline_retry_ms=5_000).open()
    bench.put(Kafka(0), Kafka(1))
    bench.fail(0, ModelFailed)
    bench.answer(1)
    assert bench.decided() == []
    seconds, ms = now()
    bench.lane.tick(seconds + 0.2, ms + 200)
    assert bench.executors.offsets() == [[0, 1], [0]]
    bench.answer(0)
    assert bench.decided() == [0, 1]


def test_lane_gives_a_retriable_failure_up_after_its_inline_time() -> None:
    bench = Bench(inline_retry_ms=0).open()
    bench.put(Kafka(0))
    bench.fail(0, ModelFailed)
    [(_, outcome)] = bench.lane.prefix(10)
    assert isinstance(outcome, Error) and outcome.code == "model_error"


def test_lane_without_ordering_sends_a_retriable_failure_up_the_ladder() -> None:
    bench = Bench().open()
    bench.put(Kafka(0))
    bench.fail(0, ModelFailed, ordering="none")
    [(_, outcome)] = bench.lane.prefix(10)
    assert isinstance(outcome, Later) and outcome.rung == 0


def test_lane_never_tries_a_final_failure_again() -> None:
    bench = Bench().open()
    bench.put(Kafka(0))
    bench.fail(0, SchemaInvalid)
    [(_, outcome)] = bench.lane.prefix(10)
    assert isinstance(outcome, Error) and outcome.message == "it failed"


def test_lane_computes_suspects_alone_and_ends_them_at_the_limit() -> None:
    bench = Bench(crash_limit=3).open()
    bench.put(Kafka(0), Kafka(1))
    for deaths in (1, 2):
        counted = bench.lane.suspect([1], "crashed")
        assert counted == {1: deaths}
        bench.lane.settle_suspects(counted, "crashed")
        assert bench.executors.submitted[-1].offsets == [1]
        assert bench.executors.submitted[-1].isolate
    counted = bench.lane.suspect([1], "crashed")
    bench.lane.settle_suspects(counted, "crashed")
    bench.answer(0)
    outcome = bench.lane.prefix(10)[1][1]
    assert isinstance(outcome, Error) and outcome.code == "worker_crashed"
    assert len(bench.executors.submitted) == 3


def test_lane_does_not_compute_what_killed_before_the_node_was_restarted() -> None:
    bench = Bench(crash_limit=3).open(0, deaths={1: 3, 2: 1})
    bench.put(Kafka(0), Kafka(1), Kafka(2))
    alone = [work.offsets for work in bench.executors.submitted if work.isolate]
    assert alone == [[2]]
    bench.answer(0, 2)
    codes = [o.code if isinstance(o, Error) else "ok" for _, o in bench.lane.prefix(10)]
    assert codes == ["ok", "worker_crashed", "ok"]
    assert bench.commit() == [1, 2]


def test_lane_that_is_closed_takes_nothing_and_tells_the_executors() -> None:
    bench = Bench().open()
    bench.put(Kafka(0), Kafka(1))
    bench.answer(0)
    bench.lane.close()
    bench.answer(1)
    bench.put(Kafka(2))
    assert bench.decided() == [0]
    assert bench.executors.forgotten == [7]


@pytest.mark.parametrize("deaths", [{}, {7: 1}])
def test_lane_of_a_retry_topic_waits_until_its_records_are_due(deaths: dict[int, int]) -> None:
    """Also where another request has ended an executor."""
    bench = Bench(topic="inference.requests.retry.5s").open(deaths=deaths)
    seconds, ms = now()
    story: list[tuple[str, bytes | None]] = [
        ("chimera-orig-topic", b"inference.requests"),
        ("chimera-orig-partition", b"0"),
        ("chimera-orig-offset", b"99"),
        ("chimera-orig-timestamp", b"1700000000000"),
        ("chimera-attempt", b"1"),
        ("chimera-error-code", b"model_error"),
        ("chimera-error-message", b"it failed"),
        ("chimera-first-failure", b"1700000000001"),
        ("chimera-not-before", b"%d" % (ms + 500)),
    ]
    bench.put(Kafka(0, headers=story))
    assert bench.executors.submitted == []
    bench.lane.tick(seconds + 0.6, ms + 600)
    [work] = bench.executors.submitted
    assert work.extras == {0: {"origin": "inference.requests:0:99"}}
    bench.fail(0, ModelFailed, ordering="none")
    [(_, outcome)] = bench.lane.prefix(10)
    assert isinstance(outcome, Later) and outcome.rung == 1
    assert outcome.error.case.origin.offset == 99 and outcome.error.case.attempt == 2


def test_lane_visits_its_steps() -> None:
    bench = Bench().open()
    bench.put(Kafka(0))
    assert bench.steps == ["after_poll", "before_compute", "mid_compute"]
