"""A lock file that says who holds it: one process owns a folder, and the kernel forgets nobody.

The lock is the kernel's (`flock`), so it is free the moment the last process that has the
descriptor is gone, however it ended; the pid in the file only tells a reader whom to ask.
`tests/cli/test_locks.py` proves it.
"""

import fcntl
import os
import time
from pathlib import Path

_POLL_S = 0.05


def take(path: Path, within_s: float = 0.5) -> int | None:
    """A descriptor that holds the lock until it is closed; None when another process keeps it.

    Raises:
        OSError: the file cannot be opened.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    until = time.monotonic() + within_s
    while not _locked(lock, fcntl.LOCK_EX):
        if time.monotonic() > until:
            os.close(lock)
            return None
        time.sleep(_POLL_S)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def holder(path: Path) -> int | None:
    """The pid of the process that holds the lock; None when nobody does."""
    try:
        lock = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        if _locked(lock, fcntl.LOCK_SH):
            return None
        return int(os.pread(lock, 32, 0).decode().strip() or 0) or None
    finally:
        os.close(lock)


def _locked(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
