"""What lanes have submitted and no executor has yet: one queue a lane, and lanes take turns.

Nothing here is bounded but by what lanes submit: their windows. `tests/workers/test_queues.py`.
"""

from collections import OrderedDict, deque
from collections.abc import Callable

from chimera.schemas.work import Block, Work
from chimera.workers.pieces import without


class Queues:
    """False while there is nothing in any of them."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[int, deque[Work | Block]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def append(self, given: Work | Block) -> None:
        self._of(given.lane).append(given)

    def prepend(self, given: Work | Block) -> None:
        """It was given out before, and comes back."""
        self._of(given.lane).appendleft(given)

    def __contains__(self, lane: int) -> bool:
        return lane in self._lanes

    def withdraw(self, lane: int, offsets: frozenset[int]) -> None:
        """Nobody waits for these any more; a block goes with its first one."""
        kept = [
            left
            for given in self._lanes.pop(lane, ())
            if (left := without(given, offsets)) is not None
        ]
        if kept:
            self._lanes[lane] = deque(kept)

    def drop(self, lane: int) -> None:
        self._lanes.pop(lane, None)

    def clear(self) -> None:
        self._lanes.clear()

    def give_out(self, take: Callable[[Work | Block], bool]) -> None:
        """Offer what is oldest, lane by lane in turn, until `take` wants nothing of any lane."""
        waiting = len(self._lanes)
        while waiting:
            lane, queue = next(iter(self._lanes.items()))
            if take(queue[0]):
                queue.popleft()
                waiting = len(self._lanes)
            else:
                waiting -= 1
            if queue:
                self._lanes.move_to_end(lane)
            else:
                del self._lanes[lane]
                waiting = min(waiting, len(self._lanes))

    def _of(self, lane: int) -> "deque[Work | Block]":
        queue = self._lanes.get(lane)
        if queue is None:
            queue = self._lanes[lane] = deque()
        return queue
