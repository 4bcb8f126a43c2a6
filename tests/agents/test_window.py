"""The window as a state machine: whatever happens, nothing is skipped, repeated or reordered."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chimera.agents.window import Hole, Window


@dataclass(frozen=True)
class Plain:
    offset: int
    value: bytes | None = b"value"


def run(*offsets: int) -> list[Plain]:
    return [Plain(offset) for offset in offsets]


def test_window_prefix_stops_at_the_first_undecided() -> None:
    window: Window[Plain, str] = Window(0)
    window.accept(0, run(0, 1, 2, 3))
    window.decide((0, 2, 3), ("a", "c", "d"))
    assert [(record.offset, outcome) for record, outcome in window.prefix(10)] == [(0, "a")]
    window.decide((1,), ("b",))
    assert [outcome for _, outcome in window.prefix(10)] == ["a", "b", "c", "d"]
    assert len(window.prefix(3)) == 3


def test_window_accepts_offsets_with_gaps_where_markers_are() -> None:
    window: Window[Plain, str] = Window(5)
    assert window.accept(5, run(5, 7)) == run(5, 7)
    assert window.accept(8, run(11)) == run(11)
    assert window.next == 12


def test_window_refuses_a_run_that_skips_requests() -> None:
    window: Window[Plain, str] = Window(5)
    window.accept(5, run(5, 6))
    with pytest.raises(Hole) as hole:
        window.accept(9, run(9))
    assert hole.value.expected == 7
    assert window.accept(7, run(7, 8, 9)) == run(7, 8, 9)


def test_window_drops_what_it_has_already() -> None:
    window: Window[Plain, str] = Window(5)
    assert window.accept(0, run(3, 4, 5, 6)) == run(5, 6)
    assert not window.accept(0, run(3, 4, 5, 6))


def test_window_rewinds_to_what_somebody_else_committed() -> None:
    window: Window[Plain, str] = Window(0)
    window.accept(0, run(0, 1, 2))
    window.decide((0, 1), ("a", "b"))
    window.rewind(1)
    assert [outcome for _, outcome in window.prefix(10)] == ["b"]
    window.rewind(9)
    assert len(window) == 0 and window.next == 9 and window.bytes == 0


class WindowMachine(RuleBasedStateMachine):
    """A log with gaps is read in runs, some repeated, some early; decisions come in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.window: Window[Plain, int] = Window(0)
        self.log: list[int] = []
        self.read = 0  # how much of the log the window has accepted
        self.committed: list[int] = []

    @rule(gap=st.integers(0, 3), count=st.integers(1, 20))
    def append(self, gap: int, count: int) -> None:
        first = (self.log[-1] + 1 if self.log else 0) + gap
        self.log += range(first, first + count)

    @rule(back=st.integers(0, 5), count=st.integers(1, 10))
    def deliver(self, back: int, count: int) -> None:
        first = max(0, self.read - back)
        offsets = self.log[first : self.read + count]
        start = self.log[first - 1] + 1 if first else 0
        fresh = self.window.accept(start, run(*offsets))
        assert [record.offset for record in fresh] == self.log[self.read : self.read + len(fresh)]
        self.read += len(fresh)

    @precondition(lambda self: len(self.log) > self.read + 1)
    @rule(ahead=st.integers(1, 5))
    def deliver_with_a_hole(self, ahead: int) -> None:
        index = min(self.read + ahead, len(self.log) - 1)
        with pytest.raises(Hole):
            self.window.accept(self.log[index - 1] + 1, run(self.log[index]))

    @rule(data=st.data())
    def decide(self, data: st.DataObject) -> None:
        undecided = list(self.window.undecided_before(1 << 60))
        if undecided:
            offset = data.draw(st.sampled_from(undecided))
            self.window.decide((offset,), (offset,))

    @rule(limit=st.integers(1, 8))
    def commit(self, limit: int) -> None:
        prefix = self.window.prefix(limit)
        assert all(record.offset == outcome for record, outcome in prefix)
        self.committed += [record.offset for record, _ in prefix]
        self.window.drop(len(prefix))

    @invariant()
    def committed_is_what_the_log_holds(self) -> None:
        assert self.committed == self.log[: len(self.committed)]
        assert len(self.committed) + len(self.window) == self.read
        assert self.window.bytes == 5 * len(self.window)


TestWindowMachine = WindowMachine.TestCase
TestWindowMachine.settings = settings(max_examples=60, deadline=None)
