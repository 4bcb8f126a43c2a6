"""Tests wait for what shall be so, and not for a time."""

import time
from collections.abc import Callable

POLL_S = 0.05


def wait(holds: Callable[[], bool], within_s: float) -> bool:
    """Whether it came to hold in time."""
    ends = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > ends:
            return False
        time.sleep(POLL_S)
    return True


def until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    """It must come to hold in time."""
    assert wait(holds, within_s), f"not so within {within_s:g} s"
