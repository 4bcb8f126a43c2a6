"""Decoded requests of one work that go the same way: what waits in an executor's queues.

Lists are parallel. A task is cut, never changed: a batch may take a part of it, deadlines may drop
some, a failed batch is halved. `tests/workers/test_tasks.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from chimera.schemas.inference import Request
from chimera.schemas.work import Work
from chimera.workers.collection import Collection
from chimera.workers.routes import Route

NO_EXTRA: Mapping[str, str] = {}


@dataclass(slots=True)
class Held:
    """A work as an executor has it; `serial` is the node's number for it."""

    serial: int
    work: Work
    collection: Collection | None = None  # where results wait for each other; none: they do not
    has_deadlines: bool = field(init=False)

    def __post_init__(self) -> None:
        self.has_deadlines = self.collection is None and any(
            self.work.deadlines
        )  # a block has none


@dataclass(frozen=True, slots=True)
class Task:
    """Some requests of a held work."""

    held: Held
    route: Route
    indexes: Sequence[int]  # in the work
    offsets: Sequence[int]
    requests: Sequence[Request]
    priority: int = 0  # as the caller gave it; 0: none

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def lane(self) -> int:
        return self.held.work.lane

    def cut(self, start: int, stop: int) -> "Task":
        """Requests `start` to `stop` of it."""
        if start == 0 and stop == len(self.offsets):
            return self
        return replace(
            self,
            indexes=self.indexes[start:stop],
            offsets=self.offsets[start:stop],
            requests=self.requests[start:stop],
        )

    def pick(self, places: Sequence[int]) -> "Task":
        """The requests at these places in it."""
        return replace(
            self,
            indexes=[self.indexes[at] for at in places],
            offsets=[self.offsets[at] for at in places],
            requests=[self.requests[at] for at in places],
        )

    def expired(self, now_ms: int) -> list[int]:
        """Places of requests whose deadline has passed."""
        deadlines = self.held.work.deadlines
        return [at for at, index in enumerate(self.indexes) if 0 < deadlines[index] < now_ms]

    @property
    def names(self) -> list[str]:
        """The requests' ids, or their coordinates."""
        work = self.held.work
        return [
            request.id if request.id is not None else name_of(work, index)
            for request, index in zip(self.requests, self.indexes, strict=True)
        ]


def name_of(work: Work, index: int) -> str:
    """The id of a request that brings none: where it came from first."""
    origin = work.extras.get(index, NO_EXTRA).get("origin")
    return origin or f"{work.topic}:{work.partition}:{work.offsets[index]}"


def halves(tasks: Sequence[Task]) -> tuple[list[Task], list[Task]]:
    """Tasks with two requests or more in all, in two parts of about equal numbers."""
    middle = sum(map(len, tasks)) // 2
    first: list[Task] = []
    second: list[Task] = []
    for task in tasks:
        if middle >= len(task):
            first.append(task)
        elif middle <= 0:
            second.append(task)
        else:
            first.append(task.cut(0, middle))
            second.append(task.cut(middle, len(task)))
        middle -= len(task)
    return first, second
