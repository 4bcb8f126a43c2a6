"""Who keeps what happens while the demo runs: a warehouse, a sequencer and its witness.

    journal, events ─┬─ sequencer ── audit.log, checkpoints ─┬─ warehouse ── SQL over HTTP
                     │      └── witness                       │
                     └────────────────────────────────────────┘

They start early and go slowly: nobody waits for them before the end, and then `settle` does.
`tests/cli/demoing/test_demo.py` runs them.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from chimera.cli.demoing import answers, trust
from chimera.cli.demoing.children import LOW, Children, command_line
from chimera.cli.demoing.early import early, open_gate
from chimera.cli.demoing.failure import DemoFailed
from chimera.cli.warehousing import engine
from chimera.schemas.settings import Settings

WITHIN_S = 90.0
STOP_WITHIN_S = 30.0
POLL_S = 0.05
SEQUENCER, WITNESS, WAREHOUSE, EXPORT = "sequencer", "witness", "warehouse", "export"
EXPORT_LIBRARIES = ("chimera.cli.audit.sources", "chimera.stores.audit_export")
_COUNTS = """
SELECT (SELECT count() FROM inference_log WHERE outcome != 'retry') AS rows,
    (SELECT count() FROM audit_log WHERE leaf = 'request') AS requests,
    (SELECT count() FROM audit_log) AS leaves, (SELECT max(size) FROM audit_checkpoints) AS signed
"""


class Counts(NamedTuple):
    """What the warehouse has."""

    rows: int
    requests: int  # that have a leaf
    leaves: int
    signed: int


class Trail:
    """`start`, `prepare_export`, `settle`, `export`; then ask and verify."""

    def __init__(self, settings: Settings, children: Children) -> None:
        self._settings, self._children = settings, children
        self._policy, self._bootstrap = b"", ""  # once it was started

    def start(self, bootstrap: str) -> None:
        """Topics are there. Raises ConfigurationError: no keys can be made."""
        made = trust.make(self._settings)
        self._policy, self._bootstrap = made.policy, bootstrap
        start = self._children.start
        start(WITNESS, [*LOW, *command_line(WITNESS)], made.environment)
        for name in (SEQUENCER, WAREHOUSE):
            command = command_line(
                name, "--bootstrap", bootstrap, "--ready-file", str(self._children.ready_file(name))
            )
            start(name, [*LOW, *command], made.environment)

    @property
    def address(self) -> str | None:
        """Of the warehouse, once it answers."""
        return engine.served(self._settings.clickhouse)

    def settle(self, requests: int) -> str:
        """Until so many are rows and leaves, and each leaf is signed for; where to ask.

        Raises:
            DemoFailed: they do not come; says what has.
        """
        self._until(lambda seen: seen.rows == seen.requests == requests)
        self._children.stop(SEQUENCER, within_s=STOP_WITHIN_S)  # it signs what it has
        return self._until(lambda seen: seen.leaves == seen.signed)

    def prepare_export(self, folder: Path) -> None:
        """Its libraries are loaded while rows and leaves come."""
        policy = folder.with_suffix(".policy")
        policy.write_bytes(self._policy)
        command = ("audit", "export", str(folder), "--policy", str(policy))
        self._children.start(EXPORT, early(self._gate, EXPORT_LIBRARIES, *command))

    def export(self) -> None:
        """As an auditor takes the log away: `chimera audit export`. Raises DemoFailed."""
        open_gate(self._gate, self._bootstrap)
        self._children.finish(EXPORT, WITHIN_S)

    @property
    def _gate(self) -> Path:
        return self._children.ready_file(EXPORT)

    def _until(self, is_settled: Callable[[Counts], bool]) -> str:
        until_s, seen = time.monotonic() + WITHIN_S, Counts(0, 0, 0, 0)
        while True:
            address = self.address
            if address is not None:
                (row,) = answers.ask(address, "what is there", _COUNTS).rows
                seen = Counts(*map(int, row))
                if is_settled(seen):
                    return address
            self._children.require()
            if time.monotonic() > until_s:
                raise DemoFailed(f"the warehouse does not get all of it: {seen}")
            time.sleep(POLL_S)
