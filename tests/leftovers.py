"""Processes that a session of tests leaves behind: each inherits the session's mark.

`tests/conftest.py` fails a session that left one; `tests/test_leftovers.py` leaves one.
"""

import os
import uuid
from collections.abc import Mapping

import psutil

VARIABLE = "CHIMERA_TESTS_SESSION"


def mark() -> None:
    """This process, its workers, and all that they start."""
    os.environ.setdefault(VARIABLE, uuid.uuid4().hex)


def left(within_s: float, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Command lines of those with the environment's mark that have not ended within that time."""
    found = [one for one in psutil.process_iter() if _has(one, environment[VARIABLE])]
    _, alive = psutil.wait_procs(found, within_s)
    return [_said(one) for one in alive]


def _has(process: psutil.Process, session: str) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        return process.environ().get(VARIABLE) == session and not _ends_with_us(process)
    except psutil.Error:
        return False


def _ends_with_us(process: psutil.Process) -> bool:
    """Multiprocessing's own server and tracker, of this process: they end when it does."""
    return process.ppid() == os.getpid() and "from multiprocessing." in " ".join(process.cmdline())


def _said(process: psutil.Process) -> str:
    try:
        return f"{process.pid}: {' '.join(process.cmdline())}"
    except psutil.Error:
        return str(process.pid)
