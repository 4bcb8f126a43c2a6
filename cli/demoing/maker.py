"""The process that makes the demo's versions (`making.py`), as the demo sees it.

It says what it does in lines of its log; a thread shows them as stages while the demo does other
things, and `wait` comes back when one of them is over. `tests/cli/demoing/test_maker.py`.
"""

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from chimera.cli.demoing.failure import DemoFailed, tail
from chimera.cli.demoing.requests import GOOD, WORSE
from chimera.cli.demoing.stages import Stage, Stages
from chimera.cli.stack.child import Child

READY_FILE = "registry.ready"  # in the demo's folder: there is a registry to write to
WITHIN_S = 240.0
POLL_S = 0.05
_MARK, _COLON = "making | ", ": "

# The stages, in their order.
TRAINED = "versions trained"
REGISTERED = {version: f"version {version} registered" for version in (GOOD, WORSE)}


def line(stage: str, detail: str) -> str:
    """What the process says of what it does; other lines are its libraries'."""
    return f"{_MARK}{stage}{_COLON}{detail}"


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "chimera.cli.demoing.making", str(folder)]


class Maker:
    """Started when it is made; end it with `kill`."""

    def __init__(
        self,
        command: Sequence[str],
        log_file: Path,
        environment: Mapping[str, str],
        stages: Stages,
    ) -> None:
        log_file.touch()
        self._log_file = log_file
        self._child = Child(command, log_file=log_file, environment=environment)
        self._stages = stages
        self._over = {name: threading.Event() for name in (TRAINED, *REGISTERED.values())}
        threading.Thread(target=self._follow, name="maker", daemon=True).start()

    def kill(self) -> None:
        self._child.kill()

    def wait(self, stage: str) -> None:
        """Until this stage is over.

        Raises:
            DemoFailed: the process ended before, or takes too long; says what it said last.
        """
        until_s = time.monotonic() + WITHIN_S
        while not self._over[stage].wait(POLL_S):
            status = self._child.exit_code
            if status or time.monotonic() > until_s:
                how = f"ended with exit status {status}" if status else "takes too long"
                said = tail(self._log_file)
                raise DemoFailed(f"{stage}: the making {how}; its log says:\n{said}")

    def _follow(self) -> None:
        """Show each stage until the next one begins, the last until the process has ended well."""
        now: tuple[str, Stage] | None = None
        with self._log_file.open(encoding="utf-8", errors="replace") as log:
            status: int | None = None
            while status is None:
                status = self._child.wait(POLL_S)
                for text in log:
                    now = self._take(text, now)
        if status == 0 and now is not None:
            self._end(now)

    def _take(self, text: str, now: tuple[str, Stage] | None) -> tuple[str, Stage] | None:
        if not text.startswith(_MARK):
            return now
        name, _, detail = text.removeprefix(_MARK).rstrip().partition(_COLON)
        if now is None or now[0] != name:
            if now is not None:
                self._end(now)
            now = (name, self._stages.begin(name))
        now[1].update(0, detail)
        return now

    def _end(self, now: tuple[str, Stage]) -> None:
        now[1].done()
        self._over[now[0]].set()
