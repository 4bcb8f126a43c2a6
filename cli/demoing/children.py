"""The demo's processes by name: each writes a log, and a file once it is ready.

Whichever way the demo ends, they do (`stack/child.py`). `tests/cli/demoing/test_children.py`.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from chimera.cli.demoing.failure import DemoFailed, tail
from chimera.cli.stack.child import Child

POLL_S = 0.02
NICE = 3  # half as much of a processor: on a busy machine more would be standing still
LOW = ("nice", "-n", str(NICE))  # before a command whose work can wait


class Children:
    """Of one folder, with one environment."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._environment = folder, dict(environment)
        self._running: dict[str, Child] = {}

    def start(
        self, name: str, command: Sequence[str], more: Mapping[str, str] | None = None
    ) -> Child:
        """`more`: of its environment alone."""
        environment = {**self._environment, **(more or {})}
        child = Child(command, log_file=self.log_file(name), environment=environment)
        self._running[name] = child
        return child

    def log_file(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def ready_file(self, name: str) -> Path:
        return self._folder / f"{name}.ready"

    def await_ready(self, name: str, within_s: float) -> None:
        """Raises DemoFailed: it ends before, or takes too long."""
        until_s = time.monotonic() + within_s
        while not self.ready_file(name).exists():
            self.require(name)
            if time.monotonic() > until_s:
                raise DemoFailed(
                    f"the {name} was not ready after {within_s:.0f} s{self._said(name)}"
                )
            time.sleep(POLL_S)

    def run(
        self,
        name: str,
        command: Sequence[str],
        within_s: float,
        more: Mapping[str, str] | None = None,
    ) -> None:
        """As `start`, then `finish`."""
        self.start(name, command, more)
        self.finish(name, within_s)

    def finish(self, name: str, within_s: float) -> None:
        """Until it has ended. Raises DemoFailed: not well, or it takes too long."""
        status = self._running[name].wait(within_s)
        if status != 0:
            how = "takes too long" if status is None else f"ended with exit status {status}"
            raise DemoFailed(f"the {name} {how}{self._said(name)}")
        del self._running[name]

    def require(self, *names: str) -> None:
        """That these run, or all. Raises DemoFailed: one has ended."""
        for name in names or self._running:
            status = self._running[name].exit_code
            if status is not None:
                raise DemoFailed(f"the {name} ended with exit status {status}{self._said(name)}")

    def stop(self, *names: str, within_s: float) -> None:
        """These, or all, told at once and told once: a second signal would be the end of their end.

        Raises:
            DemoFailed: one did not end well.
        """
        stopping = {name: self._running[name] for name in names or self._running}
        for child in stopping.values():
            child.terminate()
        for name, child in stopping.items():
            if child.wait(within_s) is None:
                child.kill()
            if status := child.exit_code:
                raise DemoFailed(f"the {name} stopped with exit status {status}{self._said(name)}")
            del self._running[name]

    def kill(self) -> None:
        """All at once; they are gone when it returns."""
        for child in self._running.values():
            child.kill()

    def _said(self, name: str) -> str:
        return f"; its log says:\n{tail(self.log_file(name))}"


def command_line(name: str, *arguments: str) -> list[str]:
    """One of our commands."""
    return [sys.executable, "-m", "chimera.cli", name, *arguments]
