"""CPU and memory of process trees over time, sampled from outside.

`Sampler` follows named roots and their children (executors come and go) in a thread; afterwards
`cpu_between` and `memory` answer for any span. Seconds are of the monotonic clock, memory is the
resident set in MB (10^6 bytes).
"""

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import psutil

EVERY_S = 0.25
CHILDREN_EVERY = 4  # samples between looks for new children


@dataclass
class Track:
    """One process: who it is, and what each sample found."""

    root: str  # name of the tree
    pid: int
    command: str
    times: list[float] = field(default_factory=list[float])
    cpu_s: list[float] = field(default_factory=list[float])
    rss_mb: list[float] = field(default_factory=list[float])

    @property
    def helper(self) -> bool:
        """multiprocessing's own bookkeeper, which computes nothing."""
        return "resource_tracker" in self.command or "semaphore_tracker" in self.command


class Sampler:
    """Samples until it is left; a process that has ended keeps its last figures."""

    def __init__(self, roots: dict[str, list[int]], every_s: float = EVERY_S) -> None:
        self._roots = roots
        self._every_s = every_s
        self._tracks: dict[int, tuple[psutil.Process, Track]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def tracks(self) -> list[Track]:
        return [track for _, track in self._tracks.values()]

    def cpu_between(self, root: str, begins: float, ends: float) -> float:
        """CPU seconds that the tree used in the span."""
        used = 0.0
        for track in self.tracks:
            if track.root == root and track.times:
                at = np.interp(
                    [begins, ends], [track.times[0] - 1e-6, *track.times], [0.0, *track.cpu_s]
                )
                started_before = track.times[0] <= begins
                used += float(at[1] - (at[0] if started_before else 0.0))
        return used

    def _run(self) -> None:
        count = 0
        while not self._stop.is_set():
            if count % CHILDREN_EVERY == 0:
                self._find_children()
            for process, track in list(self._tracks.values()):
                with contextlib.suppress(psutil.Error), process.oneshot():
                    cpu = process.cpu_times()
                    track.rss_mb.append(process.memory_info().rss / 1e6)
                    track.cpu_s.append(cpu.user + cpu.system)
                    track.times.append(time.monotonic())
            count += 1
            self._stop.wait(self._every_s)

    def _find_children(self) -> None:
        for root, pids in self._roots.items():
            for pid in pids:
                with contextlib.suppress(psutil.Error):
                    process = psutil.Process(pid)
                    for one in (process, *process.children(recursive=True)):
                        if one.pid not in self._tracks:
                            track = Track(root, one.pid, " ".join(one.cmdline()))
                            self._tracks[one.pid] = (one, track)
