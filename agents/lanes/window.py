"""A lane's window: what has come and is not committed yet, in offset order. Pure.

    next ▸ the position that the following run must continue from
    ├── undecided   at an executor, or waiting to go there
    ├── decided     has its outcome, waits for all before it
    └── prefix      decided without a gap from the oldest on: what the next transaction commits

Its entries are records, each with an outcome of its own, and blocks of records that nobody here has
read, with one outcome together. A block can be opened while it is undecided: its records take its
place. A run that does not continue where the last one ended is a `Hole`: something was skipped, and
accepting it would commit past requests that nobody answered. Offsets need not be dense. Its bytes are
those of requests and of outcomes: a few requests may have large results that wait for one before them.
`tests/agents/test_window.py` drives it as a state machine.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar


class Record(Protocol):
    """What a window needs of a Kafka record; aiokafka's parsed records have more."""

    @property
    def offset(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


class Unread(Protocol):
    """What a window needs of a block."""

    @property
    def first(self) -> int: ...
    @property
    def next(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def raw(self) -> bytes | memoryview: ...


class Hole(Exception):
    """A run starts past the position that was expected; `expected` is where to read again."""

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(f"expected position {expected}, the run continues from {found}")
        self.expected, self.found = expected, found


R = TypeVar("R", bound=Record)
B = TypeVar("B", bound=Unread)
O = TypeVar("O")  # an outcome


class Window(Generic[R, B, O]):
    """Records `R` and blocks `B` of one partition, and their outcomes `O`."""

    def __init__(self, position: int, size_of: Callable[[O], int]) -> None:
        """`position` is the committed offset: the first one that is not decided yet.

        `size_of`: an outcome, in bytes.
        """
        self.next = position
        self._size_of = size_of
        self.bytes = 0
        self.undecided = 0  # records, those in blocks included
        self._count = 0
        self._order: deque[int] = deque()  # entries by their first offset
        self._records: dict[int, R] = {}
        self._blocks: dict[int, B] = {}
        self._outcomes: dict[int, O] = {}

    def __len__(self) -> int:
        """Records, those in blocks included."""
        return self._count

    @property
    def ready(self) -> bool:
        """Whether the oldest entry is decided, so that there is something to commit."""
        return bool(self._order) and self._order[0] in self._outcomes

    @property
    def oldest(self) -> int:
        """The first offset that is not committed."""
        return self._order[0] if self._order else self.next

    def accept(self, start: int, records: Sequence[R], end: int = 0) -> Sequence[R]:
        """Take a run that continues from `start`, up to `end` (or its last record).

        Returns its records that are new.

        Raises:
            Hole: `start` lies past the expected position.
        """
        self._require_no_hole(start)
        if records and records[0].offset < self.next:
            records = [record for record in records if record.offset >= self.next]
        if records:
            offsets = [record.offset for record in records]
            self._order.extend(offsets)
            self._keep(offsets, records)
            self.next = offsets[-1] + 1
        self.next = max(self.next, end)
        return records

    def accept_block(self, start: int, block: B) -> bool:
        """Take a block that continues from `start`, if all of it is new.

        Raises:
            Hole: as `accept`.
        """
        self._require_no_hole(start)
        if block.first < self.next:
            return False
        self._order.append(block.first)
        self._blocks[block.first] = block
        self._count += block.count
        self.undecided += block.count
        self.bytes += len(block.raw)
        self.next = block.next
        return True

    def _require_no_hole(self, start: int) -> None:
        if start > self.next:
            raise Hole(self.next, start)

    def _keep(self, offsets: Sequence[int], records: Sequence[R]) -> None:
        self._records.update(zip(offsets, records, strict=True))
        self._count += len(records)
        self.undecided += len(records)
        self.bytes += sum([len(record.value or b"") for record in records])

    def block(self, offset: int) -> B | None:
        """The undecided block in which an offset lies."""
        for block in self._blocks.values():
            if block.first <= offset < block.next:
                return None if block.first in self._outcomes else block
        return None

    def blocks_of(self, offsets: Iterable[int]) -> list[B]:
        """Undecided blocks in which any of these offsets lies."""
        found: list[B] = []
        last: B | None = None
        for offset in offsets:
            if offset in self._records or (last and last.first <= offset < last.next):
                continue
            last = self.block(offset)
            if last is not None and last not in found:
                found.append(last)
        return found

    @property
    def has_blocks(self) -> bool:
        return bool(self._blocks)

    def around(self, position: int) -> B | None:
        """The block, decided or not, that begins before a position and ends after it."""
        for block in self._blocks.values():
            if block.first < position < block.next:
                return block
        return None

    def blocks_before(self, offset: int) -> list[B]:
        """Undecided blocks that begin below `offset`, oldest first."""
        return [
            block
            for block in self._blocks.values()
            if block.first < offset and block.first not in self._outcomes
        ]

    def open(self, block: B, records: Sequence[R]) -> None:
        """Put a block's records into its place; each is to be decided by itself."""
        del self._blocks[block.first]
        self._count -= block.count
        self._forget_outcome(block.first, block.count)
        self.bytes -= len(block.raw)
        offsets = [record.offset for record in records]
        self._keep(offsets, records)
        order = self._order
        place = order.index(block.first)
        order.rotate(-place)
        order.popleft()
        order.extendleft(reversed(offsets))
        order.rotate(place)

    def decide(self, offsets: Iterable[int], outcomes: Sequence[O]) -> None:
        """Give undecided offsets their outcomes; the caller knows that they are undecided."""
        self._outcomes.update(zip(offsets, outcomes, strict=True))
        self.undecided -= len(outcomes)
        self.bytes += sum(map(self._size_of, outcomes))

    def decide_block(self, first: int, outcome: O) -> bool:
        """Decide a block as a whole; False: it is not there any more, or was opened."""
        block = self._blocks.get(first)
        if block is None:
            return False
        if first not in self._outcomes:
            self.undecided -= block.count
            self.bytes += self._size_of(outcome)
            self._outcomes[first] = outcome
        return True

    def is_undecided(self, offset: int) -> bool:
        """Whether it is a record here that has no outcome."""
        return offset in self._records and offset not in self._outcomes

    def are_undecided(self, offsets: Sequence[int]) -> bool:
        """Whether all are records here that have no outcome."""
        return self._records.keys() >= set(offsets) and self._outcomes.keys().isdisjoint(offsets)

    def record(self, offset: int) -> R:
        return self._records[offset]

    def undecided_before(self, offset: int) -> Iterator[int]:
        """Undecided records below `offset`, oldest first; those in blocks are not known here."""
        for candidate in self._order:
            if candidate >= offset:
                return
            if candidate not in self._outcomes and candidate in self._records:
                yield candidate

    def prefix(self, limit: int, size: int = sys.maxsize) -> list[tuple[R | B, O]]:
        """The oldest decided entries with their outcomes, without a gap: at least one, and no
        further one that begins past `limit` records, or `size` bytes of outcomes."""
        outcomes = self._outcomes
        found: list[tuple[R | B, O]] = []
        count = taken = 0
        for offset in self._order:
            if offset not in outcomes or count >= limit or taken >= size:
                break
            entry, records = self._entry(offset)
            found.append((entry, outcomes[offset]))
            count += records
            taken += self._size_of(outcomes[offset])
        return found

    def _entry(self, offset: int) -> tuple[R | B, int]:
        block = self._blocks.get(offset)
        return (self._records[offset], 1) if block is None else (block, block.count)

    def drop(self, entries: int) -> None:
        """Forget the oldest entries: they are committed."""
        for _ in range(entries):
            first = self._order.popleft()
            block = self._blocks.pop(first, None)
            if block is None:
                count, size = 1, len(self._records.pop(first).value or b"")
            else:
                count, size = block.count, len(block.raw)
            self._count -= count
            self.bytes -= size
            self._forget_outcome(first, count)

    def _forget_outcome(self, first: int, count: int) -> None:
        outcome = self._outcomes.pop(first, None)
        if outcome is None:
            self.undecided -= count
        else:
            self.bytes -= self._size_of(outcome)

    def rewind(self, position: int) -> None:
        """After a fence: `position` is committed, whoever did it; what lies below is done.

        A block in which `position` lies has been opened before.
        """
        while self._order and self._order[0] < position:
            self.drop(1)
        self.next = max(self.next, position)
