"""A lane that passes blocks on unread: what it decides when an executor cannot answer them as one."""

import time

from chimera.agents.lanes.outcomes import Error, count_of, end_of
from chimera.agents.lanes.reading import READ_HERE
from chimera.schemas.errors import Malformed, ModelFailed
from chimera.schemas.headers import DEADLINE, header
from chimera.schemas.work import Results
from tests.agents.lanes import Bench, Kafka

MANY = 64
DEADLINES = b"\2" + header(DEADLINE, b"9999999999999")  # of the year 2286


def test_lane_passes_a_block_on_and_commits_it_as_one() -> None:
    bench = Bench().open()
    bench.put_raw(0, MANY)
    bench.put(Kafka(MANY))
    (block,) = bench.executors.blocks
    assert (block.lane, block.first, block.next, block.count) == (bench.lane.serial, 0, MANY, MANY)
    assert bench.steps[:3] == ["after_poll", "before_compute", "mid_compute"]
    bench.answer(MANY)
    assert bench.decided() == [] and len(bench.lane) == MANY + 1
    bench.answer_block(block)
    prefix = bench.lane.prefix(10_000)
    assert [(end_of(entry), count_of(entry)) for entry, _ in prefix] == [
        (MANY, MANY),
        (MANY + 1, 1),
    ]
    assert isinstance(prefix[0][1], Results)
    bench.commit()
    assert len(bench.lane) == 0 and bench.lane.position == MANY + 1


def test_lane_reads_what_carries_deadlines_or_is_small_or_was_half_read() -> None:
    bench = Bench().open()
    bench.put_raw(0, MANY, head=DEADLINES)
    bench.put_raw(MANY, 3)
    bench.put_raw(0, 2 * MANY, start=0)
    assert bench.executors.blocks == []
    assert [len(work.offsets) for work in bench.executors.submitted] == [MANY, 3, MANY - 3]
    assert len(bench.lane) == 2 * MANY


def test_lane_with_requests_that_killed_reads_everything() -> None:
    bench = Bench().open(0, deaths={5: 1})
    bench.put_raw(0, MANY)
    assert bench.executors.blocks == []
    assert [list(work.offsets) for work in bench.executors.submitted if work.isolate] == [[5]]


def test_lane_seeks_back_when_a_block_skips_something() -> None:
    bench = Bench().open()
    bench.put_raw(10, MANY)
    assert bench.flow.sought == [0] and bench.executors.blocks == []


def test_lane_reads_a_block_that_comes_back() -> None:
    bench = Bench().open()
    bench.put_raw(0, MANY)
    (block,) = bench.executors.blocks
    bench.lane.unread(block, ())
    (work,) = bench.executors.submitted
    assert list(work.offsets) == list(range(MANY))
    bench.answer_block(block)  # it was read since
    assert bench.decided() == []
    bench.answer(*range(MANY))
    assert bench.decided() == list(range(MANY))


def test_lane_passes_fewer_blocks_on_the_more_come_back() -> None:
    bench = Bench().open()
    passed: list[int] = []
    for run in range(3 * READ_HERE):
        bench.put_raw(run * MANY, MANY)
        if len(bench.executors.blocks) > len(passed):
            passed.append(run)
            bench.lane.unread(bench.executors.blocks[-1], ())
    assert passed == [0, 2, 5, 10, 19, 36, 69, 134]


def test_lane_answers_a_block_one_by_one_when_one_of_it_failed() -> None:
    bench = Bench().open()
    bench.put_raw(0, MANY)
    bench.answer(*range(10))
    bench.fail(10, Malformed)
    assert bench.executors.submitted == []  # whoever has the block answers the rest
    bench.answer(*range(11, MANY))
    outcomes = [outcome for _, outcome in bench.lane.prefix(10_000)]
    assert len(outcomes) == MANY
    assert [at for at, outcome in enumerate(outcomes) if isinstance(outcome, Error)] == [10]


def test_lane_computes_the_rest_of_a_half_answered_block_again() -> None:
    bench = Bench(inline_retry_ms=60_000).open()
    bench.put_raw(0, MANY)
    (block,) = bench.executors.blocks
    bench.answer(0, 1)
    bench.fail(2, ModelFailed)  # it waits for its next try
    bench.lane.unread(block, (5, 6))
    (work,) = bench.executors.submitted
    assert list(work.offsets) == [3, 4, *range(7, MANY)]
    assert bench.lane.suspect([5, 6], "crashed") == {5: 1, 6: 1}
    bench.lane.settle_suspects([5, 6], "crashed")
    assert list(bench.executors.submitted[-1].offsets) == [5, 6]
    assert bench.executors.submitted[-1].isolate


def test_lane_accuses_nobody_twice_for_one_death() -> None:
    bench = Bench().open()
    bench.put_raw(0, MANY)
    (block,) = bench.executors.blocks
    bench.lane.unread(block, (3,))
    assert 3 not in [at for work in bench.executors.submitted for at in work.offsets]
    assert bench.lane.suspect([3], "crashed") == {3: 1}


def test_lane_gives_a_block_up_that_nobody_answers_in_time() -> None:
    bench = Bench(decide_within_ms=1_000).open()
    bench.put_raw(0, MANY)
    (block,) = bench.executors.blocks
    now_s = time.monotonic() + 1.5
    bench.lane.tick(now_s, time.time_ns() // 1_000_000)
    outcomes = [outcome for _, outcome in bench.lane.prefix(10_000)]
    assert {outcome.code for outcome in outcomes if isinstance(outcome, Error)} == {
        "backend_unavailable"
    }
    assert len(outcomes) == MANY
    bench.answer_block(block)
    bench.put(Kafka(MANY))
    bench.answer(MANY)
    assert bench.decided() == list(range(MANY + 1))


def test_lane_that_was_fenced_inside_a_block_answers_the_rest_of_it() -> None:
    bench = Bench().open()
    bench.put_raw(0, MANY)
    (block,) = bench.executors.blocks
    bench.answer_block(block)
    bench.lane.rewind(20)
    (work,) = bench.executors.submitted
    assert list(work.offsets) == list(range(20, MANY))
    assert bench.lane.position == 20
    bench.answer(*range(20, MANY))
    assert bench.decided() == list(range(20, MANY))


def test_lane_leaves_what_failed_in_a_block_to_whoever_tries_it_again() -> None:
    bench = Bench(inline_retry_ms=60_000).open()
    bench.put_raw(0, MANY)
    (block,) = bench.executors.blocks
    bench.fail(2, ModelFailed)
    bench.lane.tick(time.monotonic() + 1, time.time_ns() // 1_000_000 + 1_000)
    assert bench.executors.offsets() == [[2]]
    bench.lane.unread(block, ())
    assert bench.executors.offsets() == [[2], [0, 1, *range(3, MANY)]]


def test_lane_leaves_suspects_of_a_block_alone_when_the_rest_of_it_comes_back() -> None:
    bench = Bench().open()
    bench.put_raw(0, MANY)
    (block,) = bench.executors.blocks
    bench.fail(0, Malformed)
    assert bench.lane.suspect([7], "crashed") == {7: 1}  # not written down yet
    bench.lane.unread(block, ())
    assert bench.executors.offsets() == [[*range(1, 7), *range(8, MANY)]]
    bench.lane.settle_suspects([7], "crashed")
    assert bench.executors.submitted[-1].isolate


def test_lane_ignores_a_block_that_comes_back_after_a_rewind_inside_of_it() -> None:
    bench = Bench().open()
    bench.put_raw(0, MANY)
    (block,) = bench.executors.blocks
    bench.lane.rewind(20)
    bench.lane.unread(block, ())
    assert bench.executors.offsets() == [list(range(20, MANY))]


def test_lane_that_was_full_goes_on_when_another_has_committed_everything() -> None:
    bench = Bench(window_records=MANY).open()
    bench.put_raw(0, MANY)
    assert bench.flow.paused
    bench.lane.rewind(MANY)
    assert not bench.flow.paused and len(bench.lane) == 0


def test_late_answers_leave_nothing_behind() -> None:
    bench = Bench().open()
    bench.put_raw(0, MANY)
    bench.lane.rewind(MANY)
    bench.answer(*range(MANY))
    bench.put(Kafka(MANY))
    assert bench.decided() == []
    bench.answer(MANY)
    assert bench.decided() == [MANY]


def test_suspect_whose_time_ran_out_is_judged_no_more() -> None:
    bench = Bench(decide_within_ms=1_000).open()
    bench.put(Kafka(0))
    assert bench.lane.suspect([0], "crashed") == {0: 1}
    bench.lane.tick(time.monotonic() + 1.5, time.time_ns() // 1_000_000)
    bench.commit()
    bench.lane.settle_suspects([0], "crashed")
    assert len(bench.executors.submitted) == 1


def test_lane_that_is_condemned_says_why_and_pauses() -> None:
    bench = Bench().open()
    bench.lane.condemn("made anew")
    assert bench.lane.condemned == "made anew" and bench.flow.paused
    assert bench.lane.decided.is_set()
