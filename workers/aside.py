"""Work that gives way to whatever else wants a processor: in a thread of low priority.

The process's own thread waits for it, and keeps its priority: a process that lowered its own could not
raise it again. On Linux a thread has a niceness of its own, and a policy: a batch job never interrupts
whoever wakes, and is interrupted. Elsewhere there is none to give.
A file is read a part at a time: a kernel that preempts no system call clears and fills all pages of a
large `read` while whoever wants that processor waits, 110 ms for 32 MiB. `tests/workers/test_aside.py`.
"""

import io
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TypeVar

BESIDE = 10  # the niceness of what is done beside an executor that answers: a tenth of a processor's share
PART_BYTES = 256 * 1024  # of one read

Made = TypeVar("Made")


def aside(make: Callable[[], Made], niceness: int = BESIDE) -> Made:
    """What `make` makes, or raises; threads that it starts are as nice as it is."""
    if not niceness or sys.platform != "linux":
        return make()
    with ThreadPoolExecutor(1, initializer=give_way, initargs=(niceness,)) as thread:
        return thread.submit(make).result()


def give_way(niceness: int) -> None:
    """From now on: the calling thread, and threads and processes that it starts. None is less nice."""
    os.nice(max(0, niceness - os.nice(0)))  # on Linux of a thread; elsewhere of its process
    if niceness and sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def read(path: Path) -> bytes:
    """All of a file. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        return read_at_most(file, path.stat().st_size)


def read_at_most(file: IO[bytes], most: int) -> bytes:
    """What is left of an open file, and no more than that. Raises OSError."""
    with io.BytesIO() as whole:
        while part := file.read(min(PART_BYTES, most - whole.tell())):
            whole.write(part)
        return whole.getvalue()
