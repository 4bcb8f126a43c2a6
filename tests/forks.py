"""`chimera` as a process of its own, forked from one that has imported what most commands need.

A start costs a second of a processor otherwise, and tests make some hundred. All is as it would be from `main`
on; what comes before that, tests of a real command line show (`tests/cli/test_main.py`, `test_stack.py`,
the demo's). `tests/test_forks.py`.
"""

# pyright: reportUnusedImport=false
# (whatever is forked has what is imported here)

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import chimera.agents.node
import chimera.cli.asking.asking
import chimera.cli.node  # noqa: F401  # forks have all three

BEFORE_FORKS = ["tests.forks", "tests.agents.sequencing.places", "tests.agents.training.stage"]
POLL_S = 0.01
FORKS = multiprocessing.get_context("forkserver")
_lock = threading.Lock()  # an exit status comes once, to whoever asks first

FORKS.set_forkserver_preload(BEFORE_FORKS)


class Fork:
    """A process that runs a command; to whoever waits for it, what `subprocess.Popen` is."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], *files: Path):
        """`files`: its standard input, which is there, its output, and its errors; to these it appends."""
        paths = tuple(map(str, files))
        self.returncode: int | None = None
        self._process = FORKS.Process(target=_become, args=(arguments, dict(environment), paths))
        with _lock:
            self._process.start()
        self.pid = self._process.pid or 0
        while self.poll() is None and not _leads(self.pid):
            time.sleep(POLL_S / 10)

    def poll(self) -> int | None:
        with _lock:
            if self.returncode is None and self._process.exitcode is not None:
                self.returncode = self._process.exitcode
                self._process.close()
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if timeout is not None and until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired("chimera", timeout)
            time.sleep(POLL_S)
        return code


def run(
    arguments: Sequence[str], environment: Mapping[str, str], text: str | None, within_s: float
) -> "subprocess.CompletedProcess[str]":
    """As `subprocess.run` does it, with all streams. Raises subprocess.TimeoutExpired."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("in", "out", "err")]
        files[0].write_text(text or "")
        process = Fork(arguments, environment, *files)
        try:
            code = process.wait(within_s)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        told = [file.read_text() for file in files[1:]]
    return subprocess.CompletedProcess(list(arguments), code, *told)


def _leads(pid: int) -> bool:
    """Whether it has a process group of its own by now, for signals."""
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def _become(arguments: Sequence[str], environment: Mapping[str, str], files: Sequence[str]) -> None:
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: tests that end leave nothing
    modes = (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT | os.O_APPEND] * 2)
    for number, (file, mode) in enumerate(zip(files, modes, strict=True)):
        opened = os.open(file, mode, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # it lasts as long as the process
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["chimera", *arguments]
    from chimera.cli.main import main

    main()
