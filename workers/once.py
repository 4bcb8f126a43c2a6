"""Processes that load much, do one thing, and end: a compiler, a trainer.

Python looks through what is alive again and again while libraries are loaded, and takes all of it
apart when it ends, though the kernel takes the memory anyway. With torch and its exporters that is 0.6
of the 2.9 s of loading, and 1.1 s at the end. `tests/workers/test_once.py`.
"""

import atexit
import gc
import os
import sys
import threading
from typing import NoReturn

GC_AFTER = 10_000  # new objects; the default is 700


def load_much() -> None:
    """Before libraries are loaded: garbage is looked for less often."""
    gc.set_threshold(GC_AFTER, 10, 10)


def leave(status: int) -> NoReturn:
    """End with this status: what is to be done at an exit is done, and nothing else.

    Threads that an exit would wait for are waited for.
    """
    if any(not one.daemon for one in threading.enumerate() if one is not threading.main_thread()):
        raise SystemExit(status)
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]  # there is no other way to have them run
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
