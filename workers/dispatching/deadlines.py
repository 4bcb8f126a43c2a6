"""Until when somebody waits for a batch: its requests' deadlines, on the clock that tiers are timed by. Pure.

    next_us   the first deadline that is still to come: what is done now should be done by then
              the present, once all have passed: nobody waits any more
              None, where the others have none

`tests/workers/dispatching/test_deadlines.py`.
"""

from bisect import bisect_right
from collections.abc import Iterable


class Deadlines:
    """Of one batch."""

    def __init__(
        self, deadlines_ms: Iterable[int] = (0,), now_ms: int = 0, now_us: int = 0
    ) -> None:
        """`deadlines_ms` are since the epoch, of each request, 0: none; the clocks show the present."""
        given = list(deadlines_ms)
        self._is_bounded = all(given)
        self._us = sorted(now_us + 1_000 * (one - now_ms) for one in given if one)

    def next_us(self, now_us: int) -> int | None:
        at = bisect_right(self._us, now_us)
        if at < len(self._us):
            return self._us[at]
        return now_us if self._is_bounded else None


NO_DEADLINES = Deadlines()
