"""The local stack: real servers on this machine, topics in order, nodes under supervision.

    up ── lock ─┬─ Kafka (embedded, or the cluster of the settings) ── topics ─┬─ nodes ── ready ── trainer
                └─ Postgres (embedded, or the server of the settings) ── tables ┴─ warehouse
    down ── nodes, trainer ── sequencer, warehouse ── Kafka ── Postgres ── unlock

Where the journal is written, a sequencer runs beside the nodes, which makes its key if neither key nor log is there.
The settings leave any of the three beside the nodes to another host.

Its state stands in `stack_state`, so that other commands find it. A server that dies is started
again on its folder and port; the nodes live through that. A warehouse is there while the journal is on,
a training agent beside a registry once the nodes serve: what it imports would keep them. Whoever of these
three ends for good ends nothing else. `tests/cli/test_stack.py` runs it.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from chimera.cli.kafka.server import EmbeddedKafka
from chimera.cli.stack import locks
from chimera.cli.stack import state as stack_state
from chimera.cli.stack.ports import free_port
from chimera.cli.stack.spare import Spare
from chimera.cli.stack.state import NodeState, StackState, find_bootstrap
from chimera.cli.stack.supervised import Supervised
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.settings import Settings

if TYPE_CHECKING:
    from chimera.cli.stack.registry import StackRegistry

__all__ = ["Stack", "find_bootstrap", "node_command", "sync_topics"]

KAFKA_PORT = 9092  # where everybody looks for one first
NODE_STOP_WITHIN_S = 30.0  # revocation, what executors are busy with, and their end
_WATCH_EVERY_S = 0.2

Command = Callable[[str, Path], Sequence[str]]
"""A process's command line, of Kafka's address and the file that it writes once it is ready."""

NamedCommand = Callable[[str, str, Path], Sequence[str]]
"""The same of whatever runs beside the nodes, by its name."""


class Stack:
    """Everything that `chimera up` starts; use it with `with`, so that nothing stays."""

    def __init__(
        self,
        settings: Settings,
        nodes: int = 1,
        *,
        command: Command | None = None,
        beside: NamedCommand | None = None,
    ) -> None:
        self.settings = settings
        self.folder = settings.stack.dir.expanduser().absolute()
        self._command = command or node_command
        self._beside_command = beside or command_line
        self._warehouse: Spare | None = None
        self._trainer: Spare | None = None
        self._kafka: EmbeddedKafka | None = None
        if settings.kafka.bootstrap is None:
            kafka = settings.kafka
            if kafka.security_protocol != "PLAINTEXT":
                raise ConfigurationError(
                    f"CHIMERA_KAFKA__SECURITY_PROTOCOL: {kafka.security_protocol} is for a cluster "
                    "of your own (CHIMERA_KAFKA__BOOTSTRAP); the embedded Kafka speaks PLAINTEXT "
                    "on loopback"
                )
            self._kafka = EmbeddedKafka(
                kafka.embedded_dir, kafka.embedded_port, jars=kafka.jars_dir, prefers=KAFKA_PORT
            )
        self._registry = _registry(settings) if settings.stack.registry else None
        self._count = nodes
        self._nodes: list[Supervised] = []
        self._sequencer: Spare | None = None
        self._lock: int | None = None
        self._written: StackState | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bootstrap(self) -> str:
        own = self.settings.kafka.bootstrap
        return own if self._kafka is None and own is not None else self._embedded.bootstrap

    def start(self) -> None:
        """Start servers, put the topics in order, start the nodes; `ready` comes later.

        Raises:
            ConfigurationError: a stack runs here already, or a setting is wrong.
            KafkaUnavailable: see `EmbeddedKafka.start` and `sync_topics`.
            PostgresUnavailable: see `StackRegistry.finish`.
        """
        self.start_servers()
        self.start_nodes()

    def start_servers(self) -> None:
        """The first half of `start`."""
        self._take_lock()
        if self._registry is not None:
            self._registry.begin()
        if self._kafka is not None:
            self._kafka.start()
        asyncio.run(sync_topics(self.settings, self.bootstrap, change=self._kafka is not None))
        if self._registry is not None:
            self._registry.finish()

    def start_nodes(self) -> None:
        """The second half of `start`."""
        for number in range(self._count):
            ready_file = self.folder / f"node-{number}.ready"
            port = self._metrics_port(number)
            command = [*self._command(self.bootstrap, ready_file), "--metrics-port", str(port)]
            page = f"http://{self.settings.observability.metrics_host}:{port}/metrics"
            node = Supervised(command, ready_file, metrics=page)
            node.start()
            self._nodes.append(node)
        journal, asked = self.settings.journal, self.settings.stack
        if journal.enabled and asked.sequencer:
            self._sequencer = self._spare("sequencer")
        if journal.enabled and asked.warehouse:
            self._warehouse = self._spare("warehouse")
        self._write()

    def _metrics_port(self, number: int) -> int:
        """Of the node with this number: the setting's, and those after it, else a free one."""
        first = self.settings.observability.metrics_port
        return first + number if first else free_port()

    def _spare(self, name: str) -> Spare:
        ready_file = self.folder / f"{name}.ready"
        return Spare(name, self._beside_command(name, self.bootstrap, ready_file), ready_file)

    @property
    def _trains(self) -> bool:
        return self.settings.stack.trainer and self._registry is not None and self._count > 0

    def watch(self, until: Callable[[], bool]) -> None:
        """Keep everything running until `until()`.

        Raises:
            NodeFailed: a node ended for good.
            KafkaUnavailable, PostgresUnavailable: a server did not start again.
        """
        while not until():
            if self._kafka is not None and not self._kafka.running:
                self._kafka.start()
            if self._registry is not None:
                self._registry.watch()
            for node in self._nodes:
                node.watch()
            for spare in self._recording:
                spare.watch()
            if self._trainer is not None:
                self._trainer.watch()
            elif self._trains and all(node.state.ready for node in self._nodes):
                self._trainer = self._spare("trainer")
            self._write()
            time.sleep(_WATCH_EVERY_S)

    def stop(self) -> None:
        """End the nodes, then the servers; everything is gone when it returns."""
        tell = [*self._nodes, *_processes(self._trainer)]
        take = [one.process for one in self._recording]
        for running in (tell, take):  # in this order: what they wrote is taken up
            for one in running:
                one.ask_to_stop()
            until = time.monotonic() + NODE_STOP_WITHIN_S
            for one in running:
                one.stop(max(0.0, until - time.monotonic()))
        if self._kafka is not None:
            self._kafka.stop()
        if self._registry is not None:
            self._registry.stop()
        if self._lock is not None:
            stack_state.forget(self.folder)
            os.close(self._lock)
            self._lock = None

    @property
    def state(self) -> StackState:
        nodes = tuple(node.state for node in self._nodes)
        are_settled = all(one.is_settled for one in self._recording)
        kafka, registry = self._kafka, self._registry
        serve = (kafka is None or kafka.running) and (registry is None or registry.running)
        return StackState(
            pid=os.getpid(),
            bootstrap=self.bootstrap,
            kafka_pid=kafka.pid if kafka is not None and kafka.running else None,
            postgres=registry.place if registry is not None else None,
            postgres_pid=registry.pid if registry is not None else None,
            nodes=nodes,
            sequencer=_state(self._sequencer),
            warehouse=_state(self._warehouse),
            trainer=_state(self._trainer),
            ready=serve and all(one.ready for one in nodes) and are_settled,
        )

    @property
    def _recording(self) -> list[Spare]:
        return [one for one in (self._sequencer, self._warehouse) if one is not None]

    @property
    def _embedded(self) -> EmbeddedKafka:
        if self._kafka is None:
            raise AssertionError("neither a cluster of the settings nor an embedded one")
        return self._kafka

    def _take_lock(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = locks.take(stack_state.lock_file(self.folder))
        except OSError as error:
            raise ConfigurationError(f"CHIMERA_STACK__DIR: {self.folder}: {error}") from error
        if self._lock is None:
            holder = locks.holder(stack_state.lock_file(self.folder))
            raise ConfigurationError(
                f"CHIMERA_STACK__DIR: a stack runs in {self.folder} already (process {holder}); "
                "end it with `chimera down`, or name another folder"
            )
        stack_state.forget(self.folder)

    def _write(self) -> None:
        state = self.state
        if state != self._written:
            state.write(self.folder)
            self._written = state


def _processes(spare: Spare | None) -> list[Supervised]:
    return [] if spare is None else [spare.process]


def _state(spare: Spare | None) -> NodeState | None:
    return None if spare is None else spare.state


def _registry(settings: Settings) -> "StackRegistry":
    from chimera.cli.stack.registry import StackRegistry  # its driver, for who has need of it

    return StackRegistry(settings.postgres)


def node_command(bootstrap: str, ready_file: Path) -> list[str]:
    """How a node is run in a process of its own."""
    return command_line("node", bootstrap, ready_file)


def command_line(name: str, bootstrap: str, ready_file: Path) -> list[str]:
    """How one of our commands is run so."""
    arguments = ["--bootstrap", bootstrap, "--ready-file", str(ready_file)]
    if name == "sequencer":
        arguments.append("--key-if-none")
    return [sys.executable, "-m", "chimera.cli", name, *arguments]


async def sync_topics(settings: Settings, bootstrap: str, *, change: bool) -> None:
    """See that the topics are as the catalogue says; with `change`, put right what can be.

    Raises:
        ConfigurationError: they differ; names each difference and what to do.
    """
    from chimera.topics import admin
    from chimera.topics.catalogue import catalogue

    topics = catalogue(settings)
    async with admin.connected(settings.kafka, bootstrap) as client:
        left = await admin.plan(client, topics)
        if change:
            left = await admin.apply(client, topics, left)
    if left:
        shown = "\n".join(f"  {difference}" for difference in left)
        advice = "" if change else "\n`chimera topics sync --apply` puts right what can be"
        raise ConfigurationError(f"these topics differ from the catalogue:\n{shown}{advice}")
