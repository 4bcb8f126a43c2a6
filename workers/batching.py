"""Which requests are computed together, and when: the dynamic batcher. Pure, time is passed in.

The rules are Triton's: once the executor is free, a batch of a preferred size goes at once, the
largest that can be formed; so does one of `max_batch_size`; anything less waits for company until
its oldest request is `max_queue_delay_us` old. Sizes count rows, as a request may bring several.
Requests wait in the order in which they came; where a model has no ordering, by priority level
first, though after `MAX_WAIT_US` none is overtaken. Models take turns, one batch each, and so do
the shapes of one model, so that a queue of slow work holds up no other by more than its own batch.
`tests/workers/test_batching.py` holds these as properties.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

MAX_WAIT_US = 1_000_000
DEFAULT_LEVEL = 5
"""Of a request with no priority (0): 1 to 4 go before it, 6 and more after it."""

T = TypeVar("T")  # what a run carries
M = TypeVar("M", bound=Hashable)  # a model
S = TypeVar("S", bound=Hashable)  # one of its shapes


def level(priority: int) -> int:
    """The level of a caller's priority: 1 is the highest, 0 means none was given."""
    return priority or DEFAULT_LEVEL


@dataclass(frozen=True, slots=True)
class Policy:
    """One model's; names as in Triton's configuration."""

    max_batch_size: int = 256  # rows
    max_queue_delay_us: int = 0
    preferred_batch_size: tuple[int, ...] = ()

    @property
    def preferred(self) -> tuple[int, ...]:
        """Preferred sizes that can occur, the largest first."""
        sizes = {size for size in self.preferred_batch_size if 0 < size <= self.max_batch_size}
        return tuple(sorted(sizes, reverse=True))


class Piece(NamedTuple, Generic[T]):
    """Requests `start` to `stop` of a run."""

    run: T
    start: int
    stop: int


@dataclass(slots=True)
class Run(Generic[T]):
    """Requests that came together: `count` of them with `rows` rows each."""

    carried: T
    count: int
    rows: int
    entered_us: int
    level: int = DEFAULT_LEVEL
    taken: int = 0


class Queue(Generic[T]):
    """Requests of one model and one shape. `rows` of a run must not be above the largest batch."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._preferred = policy.preferred
        self._levels: dict[int, deque[Run[T]]] = {}
        self.rows = 0

    def add(self, run: Run[T]) -> None:
        if run.level not in self._levels:
            self._levels[run.level] = deque()
            self._levels = dict(sorted(self._levels.items()))
        self._levels[run.level].append(run)
        self.rows += run.count * run.rows

    def discard(self, unwanted: Callable[[T], bool]) -> None:
        """Drop runs whose load is not wanted any more."""
        for runs in self._levels.values():
            kept = [run for run in runs if not unwanted(run.carried)]
            runs.clear()
            runs.extend(kept)
        self._levels = {level: runs for level, runs in self._levels.items() if runs}
        self.rows = sum(
            (run.count - run.taken) * run.rows for runs in self._levels.values() for run in runs
        )

    def due_us(self) -> int | None:
        """When a batch is to go at the latest: 0 at once; None if there is nothing."""
        if not self.rows:
            return None
        if not self._policy.max_queue_delay_us or self._full(self._candidates(0)):
            return 0
        return self._oldest_us() + self._policy.max_queue_delay_us

    def take(self, now_us: int) -> list[Piece[T]]:
        """The batch to compute now; empty if there is none yet."""
        due_us = self.due_us()
        if due_us is None or due_us > now_us:
            return []
        candidates = self._candidates(now_us)
        limit = self._full(candidates) or self._policy.max_batch_size
        pieces: list[Piece[T]] = []
        rows = 0
        for run in candidates:
            waiting = run.count - run.taken
            count = min(waiting, (limit - rows) // run.rows)
            if count:
                pieces.append(Piece(run.carried, run.taken, run.taken + count))
                run.taken += count
                rows += count * run.rows
            if count < waiting:
                break
        self._drop_taken()
        self.rows -= rows
        return pieces

    def _candidates(self, now_us: int) -> list[Run[T]]:
        """Runs in the order in which they go, as many as could fill a batch."""
        found: list[Run[T]] = []
        rows = 0
        waited: set[int] = set()
        if now_us and len(self._levels) > 1:
            heads = [runs[0] for runs in self._levels.values()]
            late = [run for run in heads if run.entered_us + MAX_WAIT_US <= now_us]
            found = sorted(late, key=lambda run: run.entered_us)
            waited = {id(run) for run in found}
        for runs in self._levels.values():
            for run in runs:
                if id(run) in waited:
                    continue
                found.append(run)
                rows += (run.count - run.taken) * run.rows
                if rows > self._policy.max_batch_size:
                    return found
        return found

    def _full(self, candidates: list[Run[T]]) -> int:
        """Rows of the batch that goes without waiting: a preferred size, or the largest; or 0."""
        if self._preferred:
            reachable = self._reachable(candidates)
            for size in self._preferred:
                if size in reachable:
                    return size
        if self.rows >= self._policy.max_batch_size:
            return self._policy.max_batch_size
        return 0

    def _reachable(self, candidates: list[Run[T]]) -> set[int]:
        """The sizes of all batches that could be formed from the front."""
        found: set[int] = set()
        rows = 0
        for run in candidates:
            more = min(run.count - run.taken, (self._policy.max_batch_size - rows) // run.rows)
            found.update(range(rows + run.rows, rows + more * run.rows + 1, run.rows))
            rows += more * run.rows
            if more < run.count - run.taken:
                break
        return found

    def _oldest_us(self) -> int:
        return min(runs[0].entered_us for runs in self._levels.values())

    def _drop_taken(self) -> None:
        for level_, runs in list(self._levels.items()):
            while runs and runs[0].taken == runs[0].count:
                runs.popleft()
            if not runs:
                del self._levels[level_]


class Scheduler(Generic[M, S, T]):
    """The queues of all models of an executor, which take turns."""

    def __init__(self) -> None:
        self._models: OrderedDict[M, OrderedDict[S, Queue[T]]] = OrderedDict()

    def add(self, model: M, shape: S, policy: Policy, run: Run[T]) -> None:
        shapes = self._models.get(model)
        if shapes is None:
            shapes = self._models[model] = OrderedDict()
        queue = shapes.get(shape)
        if queue is None:
            queue = shapes[shape] = Queue(policy)
        queue.add(run)

    def next(self, now_us: int) -> tuple[M, list[Piece[T]]] | None:
        """The batch whose turn it is, with its model; None if none may go yet."""
        for model, shapes in self._models.items():
            for shape, queue in shapes.items():
                if pieces := queue.take(now_us):
                    self._turn(model, shape)
                    return model, pieces
        return None

    def due_us(self) -> int | None:
        """When `next` will have a batch at the latest; None if nothing waits."""
        due = [
            at
            for shapes in self._models.values()
            for queue in shapes.values()
            if (at := queue.due_us()) is not None
        ]
        return min(due, default=None)

    def discard(self, unwanted: Callable[[T], bool]) -> None:
        for model, shapes in list(self._models.items()):
            for shape, queue in list(shapes.items()):
                queue.discard(unwanted)
                if not queue.rows:
                    del shapes[shape]
            if not shapes:
                del self._models[model]

    def _turn(self, model: M, shape: S) -> None:
        shapes = self._models[model]
        if shapes[shape].rows:
            shapes.move_to_end(shape)
        else:
            del shapes[shape]
        if shapes:
            self._models.move_to_end(model)
        else:
            del self._models[model]
