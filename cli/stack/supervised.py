"""One node under supervision: started, watched, started again when it gives up its state.

    starting ── ready file ── ready ── exit 70, or a signal ── waits ── starting
                                    └─ exit 0, 1, 2: it will not go better next time ── failed

The wait doubles from half a second to ten, and is short again after a minute of good health. The
decision is `delay_s`, a pure function. `tests/cli/test_supervised.py` proves it.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from chimera.cli.stack.child import Child
from chimera.cli.stack.state import NodeState
from chimera.schemas.errors import ChimeraError

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 10.0
HEALTHY_AFTER_S = 60.0
_FINAL = (0, 1, 2)  # ended by itself, refused its configuration, refused its arguments


class NodeFailed(ChimeraError):
    """A node ended in a way that another start does not mend; what it said stands in its log."""


class Supervised:
    """A command that tells that it is ready by writing a file."""

    def __init__(
        self,
        command: Sequence[str],
        ready_file: Path,
        log_file: Path | None = None,
        *,
        name: str = "node",
        metrics: str = "",
    ) -> None:
        """`metrics`: the URL of its page, for whoever asks for its state."""
        self._name = name
        self._metrics = metrics
        self._command = command
        self._ready_file = ready_file
        self._log_file = log_file
        self._child: Child | None = None
        self._failures = 0  # in a row
        self._restarts = 0
        self._started_at = 0.0
        self._due_at: float | None = None

    @property
    def state(self) -> NodeState:
        running = self._child is not None and self._child.exit_code is None
        return NodeState(
            pid=self._child.pid if self._child else 0,
            ready=running and self._ready_file.exists(),
            restarts=self._restarts,
            metrics=self._metrics,
        )

    def start(self) -> None:
        self._ready_file.unlink(missing_ok=True)
        self._child = Child(self._command, log_file=self._log_file)
        self._started_at = time.monotonic()
        self._due_at = None

    def watch(self) -> None:
        """Look after it; call it a few times a second.

        Raises:
            NodeFailed: it ended for good.
        """
        now = time.monotonic()
        if self._due_at is not None:
            if now >= self._due_at:
                self._restarts += 1
                self.start()
            return
        if self._child is None or self._child.exit_code is None:
            return
        code = self._child.exit_code
        if code in _FINAL:
            raise NodeFailed(f"the {self._name} ended with exit status {code}; its log says why")
        self._failures = self._failures + 1 if now - self._started_at < HEALTHY_AFTER_S else 1
        self._due_at = now + delay_s(self._failures)

    def ask_to_stop(self) -> None:
        if self._child is not None:
            self._child.terminate()

    def stop(self, within_s: float) -> None:
        """End it, for certain after `within_s`."""
        self._due_at = None
        if self._child is not None:
            self._child.stop(within_s)
        self._ready_file.unlink(missing_ok=True)


def delay_s(failures: int) -> float:
    """How long to wait before the next start, after so many failures in a row."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures - 1, 10))
