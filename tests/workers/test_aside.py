"""What gives way has a low priority; who waits for it keeps its own; what is raised arrives."""

import os
import sys
import threading

import pytest

from chimera.workers.aside import BESIDE, aside

linux = pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness of their own")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@linux
def test_work_is_nice_and_whoever_waits_is_not() -> None:
    before = niceness()
    assert aside(niceness) == max(before, BESIDE)
    assert aside(niceness, 15) == max(before, 15)
    assert niceness() == before


def test_work_that_need_not_give_way_is_done_in_this_thread() -> None:
    assert aside(threading.get_native_id, 0) == threading.get_native_id()


def test_what_the_work_raises_arrives() -> None:
    def fail() -> None:
        raise ValueError("no such model")

    with pytest.raises(ValueError, match="no such model"):
        aside(fail)
