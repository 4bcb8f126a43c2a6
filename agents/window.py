"""A lane's window: what was read and is not committed yet, in offset order. Pure.

    next ▸ the position that the following run must continue from
    ├── undecided   at an executor, or waiting to go there
    ├── decided     has its outcome, waits for all before it
    └── prefix      decided without a gap from the oldest on: what the next transaction commits

A run that does not continue where the last one ended is a `Hole`: something was skipped, and
accepting it would commit past requests that nobody answered. Offsets need not be dense.
`tests/agents/test_window.py` drives it as a state machine.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar


class Record(Protocol):
    """What a window needs of a Kafka record; aiokafka's parsed records have more."""

    @property
    def offset(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


class Hole(Exception):
    """A run starts past the position that was expected; `expected` is where to read again."""

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(f"expected position {expected}, the run continues from {found}")
        self.expected, self.found = expected, found


R = TypeVar("R", bound=Record)
O = TypeVar("O")  # an outcome


class Window(Generic[R, O]):
    """Records `R` of one partition and their outcomes `O`."""

    def __init__(self, position: int) -> None:
        """`position` is the committed offset: the first one that is not decided yet."""
        self.next = position
        self.bytes = 0
        self._order: deque[int] = deque()
        self._records: dict[int, R] = {}
        self._outcomes: dict[int, O] = {}

    def __len__(self) -> int:
        return len(self._order)

    @property
    def ready(self) -> bool:
        """Whether the oldest record is decided, so that there is something to commit."""
        return bool(self._order) and self._order[0] in self._outcomes

    @property
    def oldest(self) -> int:
        """The first offset that is not committed."""
        return self._order[0] if self._order else self.next

    def accept(self, start: int, records: Sequence[R]) -> Sequence[R]:
        """Take a run that continues from `start`; returns its records that are new.

        Raises:
            Hole: `start` lies past the expected position.
        """
        if start > self.next:
            raise Hole(self.next, start)
        if records and records[0].offset < self.next:
            records = [record for record in records if record.offset >= self.next]
        if not records:
            return records
        offsets = [record.offset for record in records]
        self._order.extend(offsets)
        self._records.update(zip(offsets, records, strict=True))
        self.bytes += sum([len(record.value or b"") for record in records])
        self.next = offsets[-1] + 1
        return records

    def decide(self, offsets: Iterable[int], outcomes: Iterable[O]) -> None:
        """Give undecided offsets their outcomes; the caller knows that they are undecided."""
        self._outcomes.update(zip(offsets, outcomes, strict=True))

    def is_undecided(self, offset: int) -> bool:
        return offset in self._records and offset not in self._outcomes

    def record(self, offset: int) -> R:
        return self._records[offset]

    def undecided_before(self, offset: int) -> Iterator[int]:
        """Undecided offsets below `offset`, oldest first."""
        for candidate in self._order:
            if candidate >= offset:
                return
            if candidate not in self._outcomes:
                yield candidate

    def prefix(self, limit: int) -> list[tuple[R, O]]:
        """The oldest decided records with their outcomes, without a gap, at most `limit`."""
        records, outcomes = self._records, self._outcomes
        found: list[tuple[R, O]] = []
        for offset in self._order:
            if offset not in outcomes or len(found) == limit:
                break
            found.append((records[offset], outcomes[offset]))
        return found

    def drop(self, count: int) -> None:
        """Forget the `count` oldest records: they are committed."""
        for _ in range(count):
            offset = self._order.popleft()
            self.bytes -= len(self._records.pop(offset).value or b"")
            self._outcomes.pop(offset, None)

    def rewind(self, position: int) -> None:
        """After a fence: `position` is committed, whoever did it; what lies below is done."""
        while self._order and self._order[0] < position:
            self.drop(1)
        self.next = max(self.next, position)
