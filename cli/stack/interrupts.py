"""Ctrl-C comes after what cannot be left half done. `tests/cli/test_child.py`."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred() -> Generator[None]:
    """The first signal that comes meanwhile is raised at the end; for what takes milliseconds."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals disturb the main thread alone
        return
    told: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        told.append(number)

    before = {number: signal.signal(number, note) for number in NUMBERS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if told:
            signal.raise_signal(told[0])
