"""Ctrl-C comes after what cannot be left half done, and leaves the exit code to who catches it.

`tests/cli/test_child.py`, `tests/cli/test_interrupts.py`.
"""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C that may be caught.

    After a KeyboardInterrupt of that very class has passed through an `exec` of text, as where a
    dataclass is made, `python -m` ends as if SIGINT had killed it, whatever its exit code was to be
    (CPython's `_Py_UnhandledKeyboardInterrupt`).
    """


def raised(*, where_ignored: bool) -> None:
    """From now on a signal raises Interrupted.

    Args:
        where_ignored: also Ctrl-C that whoever started this process has it ignore.
    """
    for number in NUMBERS:
        if number != signal.SIGINT or where_ignored or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted


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
