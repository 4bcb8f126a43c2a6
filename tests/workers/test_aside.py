"""What gives way has a low priority; who waits for it keeps its own; what is raised arrives; files arrive whole."""

import os
import sys
import threading
from pathlib import Path

import pytest

from chimera.workers.aside import BESIDE, PART_BYTES, aside, read, read_at_most

linux = pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness of their own")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@linux
def test_work_is_nice_and_whoever_waits_is_not() -> None:
    before = niceness()
    assert aside(niceness) == max(before, BESIDE)
    assert aside(niceness, 15) == max(before, 15)
    assert niceness() == before


@linux
def test_work_interrupts_nobody_who_wakes() -> None:
    assert aside(lambda: os.sched_getscheduler(0)) == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@linux
def test_nothing_is_less_nice_for_giving_way() -> None:
    assert aside(lambda: aside(niceness, 1)) == max(niceness(), BESIDE)


def test_work_that_need_not_give_way_is_done_in_this_thread() -> None:
    assert aside(threading.get_native_id, 0) == threading.get_native_id()


def test_what_the_work_raises_arrives() -> None:
    def fail() -> None:
        raise ValueError("no such model")

    with pytest.raises(ValueError, match="no such model"):
        aside(fail)


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
def test_files_are_read_whole_and_not_beyond_the_limit(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert read(path) == content
    with path.open("rb", buffering=0) as file:
        assert read_at_most(file, size // 2) == content[: size // 2]
        assert read_at_most(file, size) == content[size // 2 :]
