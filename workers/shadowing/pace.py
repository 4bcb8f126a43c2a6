"""How many rows a shadow's next batch may have: as many as take about a given time. Pure.

A live batch that arrives meanwhile waits for it, so this bounds what a shadow adds to a latency, but
for one whose single row takes longer. It begins small, at most doubles, and never falls below one.
`tests/workers/shadowing/test_pace.py`.
"""

FIRST_ROWS = 4


class Pace:
    """Of one shadow."""

    def __init__(self, batch_us: int, max_rows: int) -> None:
        self._batch_us, self._max_rows = batch_us, max_rows
        self.rows = min(FIRST_ROWS, max_rows)

    def note(self, rows: int, took_us: int) -> None:
        """A batch of so many rows took so long."""
        fitting = rows * self._batch_us // max(1, took_us)
        if took_us > self._batch_us:
            self.rows = max(1, min(self.rows, fitting))
        elif rows >= self.rows:  # else it tells nothing of larger ones
            self.rows = max(1, min(self._max_rows, 2 * self.rows, fitting))
