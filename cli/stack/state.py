"""What a running local stack leaves for others: who runs, where, and whether it is ready.

One process keeps a stack: it holds `stack.lock` and writes `stack.json`, each time as a whole. The
lock says whether the file is true: it is free the moment that process is gone.
`tests/cli/test_stack.py` proves it.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chimera.cli.stack import locks
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.settings import Settings


@dataclass(frozen=True, slots=True)
class NodeState:
    pid: int
    ready: bool
    restarts: int
    metrics: str = ""  # the URL of its page; empty: it has none, or nobody knows
    failed: bool = False  # it ended for good; its log says why


@dataclass(frozen=True, slots=True)
class StackState:
    pid: int  # of the process that keeps the stack
    bootstrap: str  # host:port of Kafka
    kafka_pid: int | None  # None: a cluster of the user's own
    postgres: str | None  # host:port/database of the registry; None: there is none
    postgres_pid: int | None  # None: a server of the user's own
    nodes: tuple[NodeState, ...]
    sequencer: NodeState | None  # None: the journal is off, or another host has it
    warehouse: NodeState | None  # None: the journal is off, or another host has it
    trainer: NodeState | None  # None: there is none, or not yet
    ready: (
        bool  # the servers serve, topics are in order, nodes are ready, nobody waits for the rest
    )

    def write(self, folder: Path) -> None:
        scratch = _file(folder).with_suffix(".new")
        scratch.write_text(json.dumps(asdict(self)), "utf-8")
        os.replace(scratch, _file(folder))


def read(folder: Path) -> StackState | None:
    """The state of the stack that runs in this folder; None when none does."""
    if locks.holder(lock_file(folder)) is None or not _file(folder).exists():
        return None
    found = json.loads(_file(folder).read_text("utf-8"))
    nodes = tuple(NodeState(**node) for node in found.pop("nodes"))
    names = ("sequencer", "warehouse", "trainer")
    sequencer, warehouse, trainer = (_one(found.pop(name)) for name in names)
    return StackState(
        nodes=nodes, sequencer=sequencer, warehouse=warehouse, trainer=trainer, **found
    )


def _one(told: dict[str, Any] | None) -> NodeState | None:
    return None if told is None else NodeState(**told)


def lock_file(folder: Path) -> Path:
    return folder / "stack.lock"


def forget(folder: Path) -> None:
    """Remove the state that an earlier stack left; only the lock's holder may."""
    _file(folder).unlink(missing_ok=True)


def find_bootstrap(settings: Settings) -> str:
    """The Kafka to speak to: the cluster of the settings, else that of the running stack.

    Raises:
        ConfigurationError: neither is there.
    """
    if settings.kafka.bootstrap is not None:
        return settings.kafka.bootstrap
    running = read(settings.stack.dir)
    if running is None:
        raise ConfigurationError(
            f"no Kafka: no stack runs in {settings.stack.dir.absolute()}; start one with "
            "`chimera up`, or set CHIMERA_KAFKA__BOOTSTRAP to a cluster of your own"
        )
    return running.bootstrap


def _file(folder: Path) -> Path:
    return folder / "stack.json"
