"""One of our commands, whose libraries are loaded before the servers that it needs are there.

    python -m chimera.cli.demoing.early GATE MODULE,... COMMAND ARGUMENT ...

It waits for the file GATE, which has Kafka's address, and then is `chimera COMMAND` with that.
`tests/cli/demoing/test_children.py`.
"""

import gc
import importlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

POLL_S = 0.02


def early(gate: Path, modules: Sequence[str], *command: str) -> list[str]:
    """Its command line."""
    here = "chimera.cli.demoing.early"
    return [sys.executable, "-m", here, str(gate), ",".join(modules), *command]


def open_gate(gate: Path, bootstrap: str) -> None:
    """Whoever waits goes on."""
    draft = gate.with_suffix(".draft")
    draft.write_text(bootstrap, "utf-8")
    os.replace(draft, gate)


def main(gate: Path, modules: Sequence[str], command: Sequence[str]) -> None:
    gc.disable()  # looking through what imports leave costs a seventh of a start
    for name in modules:
        importlib.import_module(name)
    from chimera.cli.main import app

    gc.enable()
    while not gate.exists():
        time.sleep(POLL_S)
    app([*command, "--bootstrap", gate.read_text("utf-8")])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:])
