"""Samples that wait for a shadow: bounded in rows and bytes, nobody ever waits for room.

What does not fit is left out by whoever offers it, and counted there. Pure.
`tests/workers/shadowing/test_backlog.py`.
"""

from collections import deque
from collections.abc import Callable

import numpy as np

from chimera.workers.shadowing.samples import Places, Sample


class Backlog:
    """Of all shadows of one executor, in the order in which their samples came."""

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._samples: deque[Sample] = deque()
        self.rows = self.size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._samples)

    @property
    def first(self) -> Sample:
        return self._samples[0]

    def fitting(self, rows: Places, row_bytes: float) -> int:
        """How many requests, from the first on, there is room for; `rows`: of each."""
        room = min(self._max_rows - self.rows, (self._max_bytes - self.size_bytes) / row_bytes)
        return int(np.searchsorted(np.cumsum(rows), room, side="right"))

    def add(self, sample: Sample) -> None:
        self._samples.append(sample)
        self._count(sample, 1)

    def take(self, rows: int) -> Sample:
        """Of the first sample, requests of so many rows at most; a larger single one still goes."""
        whole = self._samples.popleft()
        self._count(whole, -1)
        fitting = int(np.searchsorted(whole.ends, rows, side="right"))
        stop = min(max(1, fitting), len(whole))
        if stop < len(whole):
            rest = whole.cut(stop, len(whole))
            self._samples.appendleft(rest)
            self._count(rest, 1)
        return whole.cut(0, stop)

    def discard(self, unwanted: Callable[[Sample], bool]) -> None:
        kept = [one for one in self._samples if not unwanted(one)]
        self._samples = deque(kept)
        self.rows = sum(one.rows for one in kept)
        self.size_bytes = sum(one.size_bytes for one in kept)

    def _count(self, sample: Sample, sign: int) -> None:
        self.rows += sign * sample.rows
        self.size_bytes += sign * sample.size_bytes
