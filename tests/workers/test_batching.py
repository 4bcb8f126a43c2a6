"""The batcher: nothing lost, order kept, never too large, never too late, nobody starved."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chimera.workers.batching import MAX_WAIT_US, Piece, Policy, Queue, Run, Scheduler, level

POLICIES = st.builds(
    Policy,
    st.integers(1, 16),
    st.sampled_from([0, 100, 5_000]),
    st.lists(st.integers(1, 16), max_size=3).map(tuple),
)


@dataclass
class Load:
    """A run as the test sees it."""

    lane: int
    items: list[int]
    rows: int
    entered_us: int
    level: int


def opened(pieces: list[Piece[Load]]) -> list[tuple[Load, int]]:
    return [(run, run.items[i]) for run, start, stop in pieces for i in range(start, stop)]


class QueueMachine(RuleBasedStateMachine):
    """One queue against a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.now_us = 1
        self.number = 0
        self.waiting: list[tuple[Load, int]] = []
        self.policy = Policy()
        self.queue: Queue[Load] = Queue(self.policy)

    @precondition(lambda self: not self.number)
    @rule(policy=POLICIES)
    def configure(self, policy: Policy) -> None:
        self.policy, self.queue = policy, Queue(policy)

    @rule(count=st.integers(1, 20), rows=st.integers(1, 16), lane=st.integers(0, 2))
    def add(self, count: int, rows: int, lane: int) -> None:
        rows = min(rows, self.policy.max_batch_size)
        items = list(range(self.number, self.number + count))
        self.number += count
        load = Load(lane, items, rows, self.now_us, 5)
        self.waiting += [(load, item) for item in items]
        self.queue.add(Run(load, count, rows, self.now_us))

    @rule(us=st.sampled_from([1, 99, 100, 4_999, 10_000]))
    def pass_time(self, us: int) -> None:
        self.now_us += us

    @rule(lane=st.integers(0, 2))
    def forget(self, lane: int) -> None:
        self.queue.discard(lambda load: load.lane == lane)
        self.waiting = [entry for entry in self.waiting if entry[0].lane != lane]

    @rule()
    def take(self) -> None:
        found = opened(self.queue.take(self.now_us))
        assert found == self.waiting[: len(found)], "order"
        rest = self.waiting[len(found) :]
        rows = sum(load.rows for load, _ in found)
        assert rows <= self.policy.max_batch_size
        if not found:
            assert not self.waiting or self.age_us() < self.policy.max_queue_delay_us
        elif self.age_us() < self.policy.max_queue_delay_us:
            free = self.policy.max_batch_size - rows
            fits_more = free > 0 and (not rest or rest[0][0].rows <= free)
            assert rows in self.policy.preferred or not fits_more, "went too early"
        self.waiting = rest

    def age_us(self) -> int:
        return self.now_us - self.waiting[0][0].entered_us

    @invariant()
    def rows_are_counted(self) -> None:
        assert self.queue.rows == sum(load.rows for load, _ in self.waiting)

    @invariant()
    def due_is_never_past_the_delay(self) -> None:
        due_us = self.queue.due_us()
        assert (due_us is None) == (not self.waiting)
        if due_us is not None:
            latest = self.waiting[0][0].entered_us + self.policy.max_queue_delay_us
            assert due_us <= latest


QueueMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestQueue = QueueMachine.TestCase


def add(queue: Queue[str], name: str, count: int = 1, **fields: int) -> None:
    fields = {"rows": 1, "entered_us": 1, **fields}
    queue.add(Run(name, count, **fields))


def sizes(pieces: list[Piece[str]]) -> int:
    return sum(stop - start for _, start, stop in pieces)


def test_no_delay_takes_what_is_there() -> None:
    queue: Queue[str] = Queue(Policy(8))
    add(queue, "a", 3)
    assert queue.take(1) == [("a", 0, 3)]


def test_delay_is_waited_for_company_and_not_longer() -> None:
    queue: Queue[str] = Queue(Policy(8, 100))
    add(queue, "a", 3, entered_us=1_000)
    assert queue.due_us() == 1_100
    assert queue.take(1_099) == []
    assert sizes(queue.take(1_100)) == 3


def test_largest_batch_goes_at_once() -> None:
    queue: Queue[str] = Queue(Policy(8, 100))
    add(queue, "a", 11, entered_us=1_000)
    assert sizes(queue.take(1_000)) == 8
    assert queue.take(1_000) == []


def test_largest_preferred_size_goes_at_once() -> None:
    queue: Queue[str] = Queue(Policy(16, 100, (4, 8)))
    add(queue, "a", 11, entered_us=1_000)
    assert sizes(queue.take(1_000)) == 8
    assert queue.take(1_000) == []
    assert sizes(queue.take(1_100)) == 3


def test_batches_form_across_runs_and_split_them() -> None:
    queue: Queue[str] = Queue(Policy(4))
    add(queue, "a", 3)
    add(queue, "b", 3)
    assert queue.take(1) == [("a", 0, 3), ("b", 0, 1)]
    assert queue.take(1) == [("b", 1, 3)]


def test_rows_count_not_requests() -> None:
    queue: Queue[str] = Queue(Policy(8))
    add(queue, "a", 2, rows=3)
    add(queue, "b", 1, rows=1)
    add(queue, "c", 1, rows=2)
    assert queue.take(1) == [("a", 0, 2), ("b", 0, 1)]
    assert queue.take(1) == [("c", 0, 1)]


def test_a_request_that_does_not_fit_is_not_overtaken() -> None:
    queue: Queue[str] = Queue(Policy(4))
    add(queue, "a", 1, rows=3)
    add(queue, "b", 1, rows=2)
    add(queue, "c", 1, rows=1)
    assert queue.take(1) == [("a", 0, 1)]
    assert queue.take(1) == [("b", 0, 1), ("c", 0, 1)]


def test_priority_goes_first_and_none_is_in_the_middle() -> None:
    queue: Queue[str] = Queue(Policy(1))
    for name, priority in (("low", 9), ("none", 0), ("high", 1)):
        add(queue, name, level=level(priority))
    assert [queue.take(1)[0].run for _ in range(3)] == ["high", "none", "low"]


def test_low_priority_is_not_overtaken_for_ever() -> None:
    queue: Queue[str] = Queue(Policy(1))
    add(queue, "low", level=9)
    add(queue, "high", level=1, entered_us=MAX_WAIT_US)
    assert queue.take(1 + MAX_WAIT_US)[0].run == "low"


@given(st.data())
def test_priorities_lose_nothing(data: st.DataObject) -> None:
    queue: Queue[str] = Queue(Policy(data.draw(st.integers(1, 5)), 0))
    expected: list[tuple[str, int]] = []
    for number in range(data.draw(st.integers(1, 8))):
        count = data.draw(st.integers(1, 6))
        add(
            queue,
            str(number),
            count,
            level=data.draw(st.integers(1, 9)),
            entered_us=number * 400_000,
        )
        expected += [(str(number), i) for i in range(count)]
    found: list[tuple[str, int]] = []
    while pieces := queue.take(8 * 400_000):
        found += [(run, i) for run, start, stop in pieces for i in range(start, stop)]
    assert sorted(found) == sorted(expected)
    assert queue.rows == 0


def test_a_busy_model_and_its_shapes_delay_another_by_one_batch() -> None:
    scheduler: Scheduler[str, int, str] = Scheduler()
    for shape in range(5):
        scheduler.add("busy", shape, Policy(2), Run("busy", 100, 1, 1))
    scheduler.add("rare", 0, Policy(2), Run("rare", 3, 1, 1))
    turns = [turn[0] for _ in range(6) if (turn := scheduler.next(1))]
    assert turns == ["busy", "rare", "busy", "rare", "busy", "busy"]


def test_shapes_of_a_model_take_turns_and_never_mix() -> None:
    scheduler: Scheduler[str, str, str] = Scheduler()
    for shape in ("wide", "tall"):
        scheduler.add("m", shape, Policy(2), Run(shape, 4, 1, 1))
    found: list[list[str]] = []
    while turn := scheduler.next(1):
        found.append([piece.run for piece in turn[1]])
    assert found == [["wide"], ["tall"], ["wide"], ["tall"]]
    assert scheduler.due_us() is None


def test_a_forgotten_lane_leaves_nothing_behind() -> None:
    scheduler: Scheduler[str, int, int] = Scheduler()
    scheduler.add("m", 0, Policy(2), Run(1, 4, 1, 1))
    scheduler.add("m", 1, Policy(2), Run(2, 1, 1, 1))
    scheduler.discard(lambda lane: lane == 1)
    assert scheduler.next(1) == ("m", [(2, 0, 1)])
    assert scheduler.next(1) is None
