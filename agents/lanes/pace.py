"""How much of a lane executors may have at once: as much as they answer soon. Pure.

    start ── about one run ── what executors answer ── their rate ── the limit follows it

Only what executors answered counts, over the time in which they had something of the lane: an error
that the lane gave by itself says nothing of their speed. A lane that left them idle has shown how
fast they are at least, so that raises the limit and never lowers it. A fast model has the whole
window after a few commits; a slow one never has more than it answers in a share of the time that a
request may wait. `tests/agents/test_pace.py`.
"""

LEAST_RECORDS = 64  # a slow lane's limit never sinks below this
SHARE = 0.25  # of `decide_within_ms`: what executors have should be answered in it
WEIGHT = 0.2  # of the latest measurement in the smoothed rate


class Pace:
    """Of one lane; times are monotonic seconds."""

    def __init__(self, start: int, most: int, within_s: float) -> None:
        """The limit begins at `start` records and never passes `most`."""
        self._most = most
        self._drain_s = max(within_s * SHARE, 1e-3)
        self._rate = min(start, most) / self._drain_s
        self._answered = 0
        self._busy_since_s: float | None = None

    @property
    def limit(self) -> int:
        """Records that executors may have."""
        return min(self._most, max(LEAST_RECORDS, round(self._rate * self._drain_s)))

    def given(self, now_s: float) -> None:
        """Executors have something of the lane, at the latest from now on."""
        if self._busy_since_s is None:
            self._busy_since_s = now_s

    def answered(self, count: int) -> None:
        self._answered += count

    def measure(self, now_s: float, left: int) -> None:
        """Look at what was answered since the last time; executors have `left` records still."""
        if not self._answered:
            return
        if self._busy_since_s is not None:
            seen = self._answered / max(now_s - self._busy_since_s, 1e-6)
            if seen > self._rate or left >= self.limit // 2:
                rate = self._rate + WEIGHT * (seen - self._rate)
                self._rate = min(rate, self._most / self._drain_s)
        self._answered = 0
        self._busy_since_s = now_s if left else None
