"""The window as a state machine: whatever happens, nothing is skipped, repeated or reordered."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chimera.agents.lanes.window import Hole, Window


@dataclass(frozen=True)
class Plain:
    offset: int
    value: bytes | None = b"value"


@dataclass(frozen=True)
class Chunk:
    """A block of records, of which a window knows only where they are."""

    offsets: tuple[int, ...]
    next: int

    @property
    def first(self) -> int:
        return self.offsets[0]

    @property
    def count(self) -> int:
        return len(self.offsets)

    @property
    def raw(self) -> bytes:
        return b"value" * len(self.offsets)


def weight(outcome: int) -> int:
    return outcome % 7


def run(*offsets: int) -> list[Plain]:
    return [Plain(offset) for offset in offsets]


def offsets_in(entry: Plain | Chunk) -> list[int]:
    return [entry.offset] if isinstance(entry, Plain) else list(entry.offsets)


def test_window_prefix_stops_at_the_first_undecided() -> None:
    window: Window[Plain, Chunk, str] = Window(0, len)
    window.accept(0, run(0, 1, 2, 3))
    window.decide((0, 2, 3), ("a", "c", "d"))
    assert window.prefix(10) == [(Plain(0), "a")]
    window.decide((1,), ("b",))
    assert [outcome for _, outcome in window.prefix(10)] == ["a", "b", "c", "d"]
    assert len(window.prefix(3)) == 3


def test_window_prefix_stops_where_outcomes_are_many_bytes() -> None:
    window: Window[Plain, Chunk, str] = Window(0, len)
    window.accept(0, run(0, 1, 2, 3))
    window.decide((0, 1, 2, 3), ("a" * 9, "b", "c", "d"))
    assert [[o[0] for _, o in window.prefix(9, size)] for size in (1, 9, 10, 11)] == [
        ["a"],
        ["a"],
        ["a", "b"],
        ["a", "b", "c"],
    ]


def test_window_accepts_offsets_with_gaps_where_markers_are() -> None:
    window: Window[Plain, Chunk, str] = Window(5, len)
    assert window.accept(5, run(5, 7)) == run(5, 7)
    assert window.accept(8, run(11)) == run(11)
    assert window.next == 12


def test_window_goes_on_after_a_batch_whose_last_records_were_compacted_away() -> None:
    window: Window[Plain, Chunk, str] = Window(5, len)
    assert window.accept(5, run(5, 7), 10) == run(5, 7)
    assert window.accept(10, run(10)) == run(10)


def test_window_refuses_a_run_that_skips_requests() -> None:
    window: Window[Plain, Chunk, str] = Window(5, len)
    window.accept(5, run(5, 6))
    with pytest.raises(Hole) as hole:
        window.accept(9, run(9))
    assert hole.value.expected == 7
    with pytest.raises(Hole):
        window.accept_block(9, Chunk((9, 10), 11))
    assert window.accept(7, run(7, 8, 9)) == run(7, 8, 9)


def test_window_drops_what_it_has_already() -> None:
    window: Window[Plain, Chunk, str] = Window(5, len)
    assert window.accept(0, run(3, 4, 5, 6)) == run(5, 6)
    assert not window.accept(0, run(3, 4, 5, 6))
    assert not window.accept_block(0, Chunk((6, 7), 8))
    assert window.accept_block(0, Chunk((7, 8), 9))


def test_window_rewinds_to_what_somebody_else_committed() -> None:
    window: Window[Plain, Chunk, str] = Window(0, len)
    window.accept(0, run(0, 1, 2))
    window.decide((0, 1), ("a", "b"))
    window.rewind(1)
    assert [outcome for _, outcome in window.prefix(10)] == ["b"]
    window.rewind(9)
    assert len(window) == window.undecided == 0 and window.next == 9 and window.bytes == 0


def test_window_decides_a_block_as_one_unless_it_was_opened() -> None:
    window: Window[Plain, Chunk, str] = Window(0, len)
    first, second = Chunk((0, 1), 2), Chunk((2, 3, 5), 6)
    window.accept_block(0, first)
    window.accept_block(2, second)
    assert window.block(1) is first and window.around(3) is second and window.around(2) is None
    assert window.blocks_before(1) == [first]
    window.open(first, run(0, 1))
    assert not window.decide_block(0, "all")
    assert window.decide_block(2, "all")
    assert window.block(3) is None
    assert not window.ready
    window.decide((0, 1), ("a", "b"))
    assert window.prefix(3) == [(Plain(0), "a"), (Plain(1), "b"), (second, "all")]
    assert window.prefix(2) == [(Plain(0), "a"), (Plain(1), "b")]


class WindowMachine(RuleBasedStateMachine):
    """A log with gaps is read in runs, some repeated, some early; decisions come in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.window: Window[Plain, Chunk, int] = Window(0, weight)
        self.log: list[int] = []
        self.decided: set[int] = set()  # outcomes that are not committed: an entry's first offset
        self.read = 0  # how much of the log the window has accepted
        self.committed: list[int] = []
        self.blocks: list[Chunk] = []

    @rule(gap=st.integers(0, 3), count=st.integers(1, 20))
    def append(self, gap: int, count: int) -> None:
        first = (self.log[-1] + 1 if self.log else 0) + gap
        self.log += range(first, first + count)

    @rule(back=st.integers(0, 5), count=st.integers(1, 10), is_block=st.booleans())
    def deliver(self, back: int, count: int, is_block: bool) -> None:
        first = max(0, self.read - (0 if is_block else back))
        offsets = self.log[first : self.read + count]
        start = self.log[first - 1] + 1 if first else 0
        if is_block and offsets:
            block = Chunk(tuple(offsets), offsets[-1] + 1)
            assert self.window.accept_block(start, block)
            self.blocks.append(block)
            self.read += len(offsets)
            return
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
            self.decided.add(offset)

    @precondition(lambda self: self.blocks)
    @rule(data=st.data(), whole=st.booleans())
    def decide_or_open_a_block(self, data: st.DataObject, whole: bool) -> None:
        block = data.draw(st.sampled_from(self.blocks))
        self.blocks.remove(block)
        assert self.window.block(block.offsets[-1]) is block
        if whole:
            assert self.window.decide_block(block.first, block.first)
            self.decided.add(block.first)
        else:
            self.window.open(block, run(*block.offsets))

    @rule(limit=st.integers(1, 8))
    def commit(self, limit: int) -> None:
        prefix = self.window.prefix(limit)
        offsets = [offsets_in(entry) for entry, _ in prefix]
        assert [found[0] for found in offsets] == [outcome for _, outcome in prefix]
        self.committed += [offset for found in offsets for offset in found]
        self.decided -= {outcome for _, outcome in prefix}
        self.window.drop(len(prefix))

    @invariant()
    def committed_is_what_the_log_holds(self) -> None:
        assert self.committed == self.log[: len(self.committed)]
        assert len(self.committed) + len(self.window) == self.read
        assert self.window.bytes == 5 * len(self.window) + sum(map(weight, self.decided))
        single = list(self.window.undecided_before(1 << 60))
        blocks = self.window.blocks_before(1 << 60)
        assert self.window.undecided == len(single) + sum(block.count for block in blocks)


TestWindowMachine = WindowMachine.TestCase
TestWindowMachine.settings = settings(max_examples=60, deadline=None)
