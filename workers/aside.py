"""Work that gives way to whatever else wants a processor: in a thread of low priority.

The process's own thread waits for it, and keeps its priority: a process that lowered its own could not
raise it again. On Linux a thread has a niceness of its own; elsewhere there is none to give.
`tests/workers/test_aside.py`.
"""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

BESIDE = 10  # the niceness of what is done beside an executor that answers: a tenth of a processor's share

Made = TypeVar("Made")


def aside(make: Callable[[], Made], niceness: int = BESIDE) -> Made:
    """What `make` makes, or raises; threads that it starts are as nice as it is."""
    if not niceness or sys.platform != "linux":
        return make()
    with ThreadPoolExecutor(1, initializer=_be_nice, initargs=(niceness,)) as thread:
        return thread.submit(make).result()


def _be_nice(niceness: int) -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
