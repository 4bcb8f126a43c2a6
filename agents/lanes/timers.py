"""What a lane waits for: deadlines, tries that are due later, executors, and the age of each run. Pure.

Milliseconds are since the epoch, as callers and brokers count; seconds are monotonic, for ages.
`tests/agents/test_lane.py` drives it through the lane.
"""

import heapq
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from chimera.agents.lanes.deferrals import Deferrals


class Due(NamedTuple):
    """What is to be computed now, and how long those of it waited that no executor might compute."""

    offsets: set[int]
    waits_ms: Mapping[int, int]


class Timers:
    """Of one lane. An offset may stand in several; the lane knows which of them are decided."""

    def __init__(self) -> None:
        self._deadlines: list[tuple[int, int]] = []  # (ms, offset), a heap
        self._again: list[tuple[int, int]] = []  # (ms, offset), a heap
        self._waiting: deque[tuple[int, Sequence[int]]] = deque()  # retry topics: (ms, offsets)
        self._entered: deque[tuple[float, int]] = deque()  # (s, first offset after the run)
        self._renewed: dict[int, float] = {}  # offset -> s: had to wait, and are so much younger
        self._got_on_s = 0.0  # whoever has something of the lane
        self.deferrals = Deferrals()

    def enter(self, at_s: float, end: int) -> None:
        """A run entered the window; its offsets lie below `end`."""
        self._entered.append((at_s, end))

    def expire_at(self, deadlines: Iterable[tuple[int, int]]) -> None:
        for deadline in deadlines:
            heapq.heappush(self._deadlines, deadline)

    def try_at(self, at_ms: int, offset: int) -> None:
        """A failed request is to be computed again."""
        heapq.heappush(self._again, (at_ms, offset))

    def wait_until(self, due_ms: int, offsets: Sequence[int]) -> None:
        """Records of a retry topic are not due yet; all of one topic wait equally long."""
        self._waiting.append((due_ms, offsets))

    @property
    def waiting(self) -> int:
        """Requests that are not with executors: they are due later, or nobody may compute them."""
        retried = sum(len(offsets) for _, offsets in self._waiting)
        return len(self.deferrals) + len(self._again) + retried

    def expired(self, now_ms: int) -> list[tuple[int, int]]:
        """Deadlines that have passed, each told once."""
        found: list[tuple[int, int]] = []
        while self._deadlines and self._deadlines[0][0] < now_ms:
            found.append(heapq.heappop(self._deadlines))
        return found

    def due(self, now_s: float, now_ms: int, paused: Collection[str], turns: int) -> Due:
        """Each is told once; the age of those that were not with executors begins anew."""
        waits_ms = self.deferrals.due(now_ms, paused, turns)
        found: set[int] = set()
        while self._again and self._again[0][0] <= now_ms:
            found.add(heapq.heappop(self._again)[1])
        waited = set(waits_ms)
        while self._waiting and self._waiting[0][0] <= now_ms:
            waited.update(self._waiting.popleft()[1])
        if waited:
            self._renewed.update(dict.fromkeys(waited, now_s))
            self.enter(now_s, max(waited) + 1)
        return Due(found | waited, waits_ms)

    def got_on(self, at_s: float) -> None:
        """Executors that have something of the lane began or ended something then: all may wait."""
        self._got_on_s = max(self._got_on_s, at_s)

    def overdue(self, entered_before_s: float) -> int | None:
        """Below it all that have entered are too old, told once; None where nobody is.

        Nobody is while executors have got on since: a slow model is no reason to end anything.
        """
        end: int | None = None
        if self._got_on_s >= entered_before_s:
            return None
        while self._entered and self._entered[0][0] < entered_before_s:
            end = max(end or 0, self._entered.popleft()[1])
        return end

    def stand_still(self, for_s: float) -> None:
        """That much time does not count for anybody's age."""
        self._entered = deque((entered + for_s, end) for entered, end in self._entered)
        self._got_on_s += for_s
        self._renewed = {offset: at_s + for_s for offset, at_s in self._renewed.items()}

    def not_due(self, entered_before_s: float) -> set[int]:
        """Offsets that nobody is late with: they wait, or did so later than that."""
        retried = {offset for _, offsets in self._waiting for offset in offsets}
        renewed = {at for at, since_s in self._renewed.items() if since_s >= entered_before_s}
        return retried | renewed | self.deferrals.offsets

    def forget_below(self, offset: int) -> None:
        """Runs that ended at or below `offset` are committed."""
        while self._entered and self._entered[0][1] <= offset:
            self._entered.popleft()
        self.deferrals.forget_below(offset)
        if self._renewed:
            self._renewed = {at: since_s for at, since_s in self._renewed.items() if at >= offset}
