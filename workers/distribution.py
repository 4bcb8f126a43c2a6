"""Who gets which work: lanes take turns, each is given to the least loaded executor.

None may fill an executor alone, so that a lane whose model is slow holds up no other. Memory is
bounded by what lanes submit: their windows. `tests/workers/test_pool.py` runs it with real processes.
"""

from collections.abc import Callable, Collection, Iterable

from chimera.schemas.work import Block, Work
from chimera.workers.handle import Handle
from chimera.workers.pieces import pieces
from chimera.workers.queues import Queues

LANE_BATCHES = 2  # of the largest size: a lane with so many records at an executor waits
ALL_LANES = 8  # times a lane's share: what an executor has in flight at most
BYTES_IN_FLIGHT = 16 << 20  # at one executor; a single larger piece still goes


class Distribution:
    """Over executors: of all that are `alive`, those that are `ready` get works."""

    def __init__(
        self,
        alive: Callable[[], Iterable[Handle]],
        ready: Callable[[], Iterable[Handle]],
        max_batch_size: int,
    ) -> None:
        self._alive = alive
        self._ready = ready
        self._lane_records = LANE_BATCHES * max(max_batch_size, 256)
        self._queues = Queues()

    def submit(self, given: Work | Block) -> None:
        for piece in (given,) if isinstance(given, Block) else pieces(given):
            self._queues.append(piece)
        self.go_on()

    def give_back(self, works: Iterable[Work]) -> None:
        """They were given out before: they go first, in this order."""
        for work in reversed(list(works)):
            self._queues.prepend(work)

    def got_on_s(self, lane: int) -> float:
        """When those that have requests of a lane, or are to get them, last began or ended anything.

        Monotonic; 0: there is nobody. A call counts for as long as it takes: only one that takes
        too long, or an executor that stands, lets this time grow old.
        """
        at_work = [handle for handle in self._alive() if handle.records_of(lane)]
        if lane in self._queues:
            at_work += self._ready()
        return max([handle.got_on_s for handle in at_work], default=0.0)

    def withdraw(self, lane: int, offsets: Collection[int]) -> None:
        gone = frozenset(offsets)
        self._queues.withdraw(lane, gone)
        for handle in self._alive():
            handle.withdraw(lane, gone)
        self.go_on()

    def forget(self, lane: int) -> None:
        self._queues.drop(lane)
        for handle in self._alive():
            handle.forget(lane)
        self.go_on()

    def clear(self) -> None:
        self._queues.clear()

    def go_on(self) -> None:
        """Give out what can be given out."""
        if self._queues:
            self._queues.give_out(self._take)

    def _take(self, given: Work | Block) -> bool:
        handle = self._choose(given.lane)
        if handle is not None:
            handle.send(given)
        return handle is not None

    def _choose(self, lane: int) -> Handle | None:
        """The least loaded executor that may take more of this lane."""
        best: Handle | None = None
        for handle in self._ready():
            if (
                handle.records < self._lane_records * ALL_LANES
                and handle.bytes < BYTES_IN_FLIGHT
                and handle.records_of(lane) < self._lane_records
                and (best is None or handle.records < best.records)
            ):
                best = handle
        return best
