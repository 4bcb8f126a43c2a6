"""A process of the stack that serving can do without: one that ends for good ends nothing else.

`tests/cli/test_stack.py` has warehouses and sequencers that refuse to run, or that are started in vain.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from chimera.cli.stack.state import NodeState
from chimera.cli.stack.supervised import NodeFailed, Supervised

log = structlog.get_logger(__name__)


class Spare:
    """Started at once; looked after as any other, until it has ended for good."""

    def __init__(self, name: str, command: Sequence[str], ready_file: Path) -> None:
        self._name, self._has_failed, self._was_ready = name, False, False
        self.process = Supervised(command, ready_file, name=name)
        self.process.start()

    @property
    def state(self) -> NodeState:
        return replace(self.process.state, failed=self._has_failed)

    @property
    def is_settled(self) -> bool:
        """Nobody needs to wait for it: what it needs to begin may be away for hours, too."""
        is_away = not self._was_ready and self.state.restarts > 0
        return self._has_failed or self.state.ready or is_away

    def watch(self) -> None:
        """Call it a few times a second."""
        if self._has_failed:
            return
        self._was_ready = self._was_ready or self.state.ready
        try:
            self.process.watch()
        except NodeFailed as error:
            self._has_failed = True
            log.error("process_failed", process=self._name, reason=str(error))
