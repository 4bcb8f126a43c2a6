"""Requests that executors handed back: their model is paused, or its version takes no call. Pure.

They wait in their window until the model is resumed, or the time has come; who waits for a tier also
tries again when others answer for a model: a rollback ends an outage at once. Meanwhile nobody's time
runs out but the caller's own: how long each has waited is told when it is due, and counts for none
of our limits, so that what fails between two waits is retried as often as ever.
`tests/agents/test_deferrals.py`, and through the lane `test_lane_deferrals.py`.
"""

from collections.abc import Collection, Iterable

from chimera.schemas.work import Deferred


class Deferrals:
    """Of one lane; times are milliseconds since the epoch."""

    def __init__(self) -> None:
        # (model, until) -> offset -> since; until 0: until the model is resumed
        self._waits: dict[tuple[str, int], dict[int, int]] = {}
        self._turns = 0

    def __len__(self) -> int:
        return sum(map(len, self._waits.values()))

    @property
    def offsets(self) -> set[int]:
        return {offset for wait in self._waits.values() for offset in wait}

    def add(self, deferred: Deferred, offsets: Iterable[int], now_ms: int) -> None:
        """These of its offsets wait from now on."""
        wait = self._waits.setdefault((deferred.model, deferred.until_ms), {})
        wait.update(dict.fromkeys(offsets, now_ms))

    def due(self, now_ms: int, paused: Collection[str], turns: int) -> dict[int, int]:
        """Offsets whose wait is over, each told once, with how long it was.

        `turns` grows each time that who answers has changed.
        """
        has_turned, self._turns = turns != self._turns, turns
        over = [
            (model, until_ms)
            for model, until_ms in self._waits
            if (until_ms <= now_ms or has_turned if until_ms else model not in paused)
        ]
        return {
            offset: now_ms - since_ms
            for one in over
            for offset, since_ms in self._waits.pop(one).items()
        }

    def forget_below(self, end: int) -> None:
        """All below are committed."""
        for key, wait in list(self._waits.items()):
            left = {offset: since_ms for offset, since_ms in wait.items() if offset >= end}
            if left:
                self._waits[key] = left
            else:
                del self._waits[key]
