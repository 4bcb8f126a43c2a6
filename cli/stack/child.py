"""A child process that never outlives its parent, however the parent ends.

On Linux the kernel kills the child when the thread that started it is gone (`PR_SET_PDEATHSIG`), so
each child has a thread that does nothing but wait for it: also `kill -9` of the parent leaves
nothing behind. A tiny shim asks for that and then becomes the command, in a process group of its own,
so that Ctrl-C reaches the parent alone. It stays in its parent's session: Linux gives each session an
equal share of the processors, and within one alone a thread's niceness counts, as a compiler's of the
broker against a node's lanes. Elsewhere only `stop` ends a child.
`tests/cli/test_child.py` kills parents.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO

from chimera.cli.stack.interrupts import deferred

# Arguments: the parent's pid, NAME=VALUE ..., "--", the command. A parent that died before the
# kernel was asked is noticed by its pid.
_SHIM = """
import ctypes, os, sys
split = sys.argv.index("--")
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.environ.update(pair.split("=", 1) for pair in sys.argv[2:split])
os.execvp(sys.argv[split + 1], sys.argv[split + 1:])
"""


class Child:
    """A running command; made by `Child(...)`, ended by `stop` or `kill`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log_file: Path | None = None,
        environment: Mapping[str, str] | None = None,
        inherit: Sequence[int] = (),
    ) -> None:
        """Start `command` (an absolute path, or a name on PATH; then its arguments).

        Args:
            log_file: both its streams are appended to it; none: the parent's own streams.
            environment: added to the parent's.
            inherit: file descriptors that it keeps open, for example a lock.

        Raises:
            OSError: it cannot be started, or its log cannot be opened.
        """
        pairs = [f"{name}={value}" for name, value in (environment or {}).items()]
        shim = [sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid()), *pairs, "--"]
        self._ended = threading.Event()
        self._started = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        self._command = [*shim, *command]
        self._log_file = log_file
        self._inherit = tuple(inherit)
        name = f"keeper of {Path(command[0]).name}"
        try:
            with deferred():
                threading.Thread(target=self._keep, name=name, daemon=True).start()
                self._started.wait()
        except BaseException:  # Ctrl-C: nobody would know of it
            if self._process is not None:
                self.kill()
            raise
        if self._failure is not None:
            raise self._failure

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number when one ended it."""
        return self._running.returncode if self._ended.is_set() else None

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for its end: the exit code, or None when it still runs after `timeout_s`."""
        self._ended.wait(timeout_s)
        return self.exit_code

    def stop(self, within_s: float) -> int:
        """Ask it to end (SIGTERM), and end it after `within_s` (SIGKILL); the exit code."""
        self.terminate()
        if self.wait(within_s) is None:
            self.kill()
        self._ended.wait()
        return self._running.returncode

    def kill(self) -> None:
        """End it at once (SIGKILL) and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self._ended.wait()

    def terminate(self) -> None:
        """Ask it to end (SIGTERM) and do not wait."""
        self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Send it this signal, unless it has ended."""
        if not self._ended.is_set():
            self._running.send_signal(number)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise AssertionError("a child without a process")
        return self._process

    def _keep(self) -> None:
        try:
            with _appending(self._log_file) as stream:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    pass_fds=self._inherit,
                    process_group=0,
                )
        except OSError as error:
            self._failure = error
            return
        finally:
            self._started.set()
        self._process.wait()
        self._ended.set()


def _appending(path: Path | None) -> AbstractContextManager[IO[bytes] | None]:
    return path.open("ab") if path is not None else nullcontext()
