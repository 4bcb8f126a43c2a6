"""The demo's own stack: one temporary folder, Kafka, the model being trained, a node.

All of it ends with the `with` block, also after Ctrl-C; nothing outlives this process, however it
ends (`child`). With a cluster of the user's own there is no Kafka to start: topics get a prefix that
nobody else has, and are deleted at the end. `tests/cli/test_demo.py` runs both.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (aiokafka ships no type information)

import asyncio
import json
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiokafka.protocol.admin import DeleteTopicsRequest
from pydantic import SecretStr

from chimera.cli import kafka_jars
from chimera.cli.child import Child
from chimera.cli.demo_stages import Stage, Stages
from chimera.cli.kafka import EmbeddedKafka
from chimera.cli.ports import free_port
from chimera.cli.stack import NODE_STOP_WITHIN_S, node_command, sync_topics
from chimera.schemas.errors import ChimeraError
from chimera.schemas.settings import Settings
from chimera.topics import admin
from chimera.topics.catalogue import catalogue

NODE_WITHIN_S = 90.0
TRAIN_WITHIN_S = 180.0
HAND_OVER_WITHIN_S = 120.0
POLL_S = 0.05


class DemoFailed(ChimeraError):
    """A part of the demo ended or did not come up; the message ends in what its log says."""


class DemoStack:
    """`start`, use `bootstrap` and `folder`, `stop_node`, and `hand_over` if it shall stay."""

    def __init__(self, settings: Settings, stages: Stages) -> None:
        self._stages = stages
        self.folder = Path(tempfile.mkdtemp(prefix="chimera-demo-"))
        self.is_embedded = settings.kafka.bootstrap is None
        self._overrides = _overrides(self.folder, self.is_embedded)
        self.settings = _applied(settings, self._overrides)
        self._kafka: EmbeddedKafka | None = None
        self._training: Child | None = None
        self._node: Child | None = None
        self._has_topics = False
        self.is_kept = False  # the folder, at the end

    @property
    def bootstrap(self) -> str:
        own = self.settings.kafka.bootstrap
        return own if self._kafka is None and own is not None else self._embedded.bootstrap

    @property
    def _embedded(self) -> EmbeddedKafka:
        if self._kafka is None:
            raise AssertionError("not started")
        return self._kafka

    @property
    def metrics(self) -> str:
        observability = self.settings.observability
        return f"http://{observability.metrics_host}:{observability.metrics_port}/metrics"

    @property
    def config_file(self) -> Path:
        return self.folder / "chimera.toml"

    @property
    def sample(self) -> Path:
        """One digit, as `chimera infer` takes it."""
        return self.folder / "digit.json"

    @property
    def _scratch(self) -> dict[str, str]:
        """What libraries leave in the temporary folder (torch does) goes with the demo's own."""
        return {"TMPDIR": str(self.folder), "ORT_DISABLE_TELEMETRY": "1"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in (self._training, self._node):
            if child is not None:
                child.kill()
        if self._has_topics and not self.is_embedded:
            asyncio.run(_delete_topics(self.settings))
        if self._kafka is not None:
            self._kafka.stop()
        if isinstance(error, Exception):
            self._stages.say(f"what was logged is kept in {self.folder}")
        elif not self.is_kept:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Kafka and the training side by side, then the node.

        Raises:
            ChimeraError: something did not start; says which, and what its log says.
        """
        training = self._stages.begin("model trained")
        log_file = self.folder / "training.log"
        command = [sys.executable, "-m", "chimera.cli.digits", str(self.folder)]
        self._training = Child(command, log_file=log_file, environment=self._scratch)
        if self.is_embedded:
            with self._stages.begin("Kafka started") as stage:
                self._start_kafka(stage)
        with self._stages.begin("topics made"):
            asyncio.run(sync_topics(self.settings, self.bootstrap, change=True))
            self._has_topics = True
        self._await(self._training, "the training", log_file, TRAIN_WITHIN_S, lambda: False)
        training.done()
        with self._stages.begin("node ready"):
            self._start_node()

    def _start_kafka(self, stage: Stage) -> None:
        kafka = self.settings.kafka
        if size_bytes := kafka_jars.missing_bytes(kafka.jars_dir):
            told = f"Kafka is downloaded once: {size_bytes >> 20} MiB, to {kafka.jars_dir}"
            self._stages.say(told)
        self._kafka = EmbeddedKafka(
            kafka.embedded_dir, kafka.embedded_port, jars=kafka.jars_dir, progress=stage.fetch
        )
        self._kafka.start()

    def _start_node(self) -> None:
        ready_file, log_file = self.folder / "node.ready", self.folder / "node.log"
        command = node_command(self.bootstrap, ready_file)
        environment = {**self._overrides, **self._scratch}
        self._node = Child(command, log_file=log_file, environment=environment)
        self._await(self._node, "the node", log_file, NODE_WITHIN_S, ready_file.exists)

    def _await(
        self, child: Child, what: str, log_file: Path, within_s: float, ready: Callable[[], bool]
    ) -> None:
        """Until it is ready, or has ended well."""
        until_s = time.monotonic() + within_s
        while not ready() and child.wait(POLL_S) != 0:
            late = time.monotonic() > until_s
            if late or child.exit_code is not None:
                ended = f"ended with exit status {child.exit_code}"
                how = f"was not ready after {within_s:.0f} s" if late else ended
                raise DemoFailed(f"{what} {how}; its log says:\n{_tail(log_file)}")

    def require_node(self) -> None:
        """
        Raises:
            DemoFailed: the node has ended.
        """
        if self._node is None or self._node.exit_code is not None:
            raise DemoFailed(f"the node ended; its log says:\n{_tail(self.folder / 'node.log')}")

    def stop_node(self) -> None:
        """
        Raises:
            DemoFailed: it did not end well.
        """
        if self._node is not None and (status := self._node.stop(NODE_STOP_WITHIN_S)):
            log = _tail(self.folder / "node.log")
            raise DemoFailed(f"the node stopped with exit status {status}; its log says:\n{log}")

    def hand_over(self) -> None:
        """Let `chimera up` run Kafka and a node in this folder, at the same address, from now on.

        Raises:
            DemoFailed: it did not come up.
        """
        self.config_file.write_text(toml(self.settings), "utf-8")
        self._embedded.stop()
        config = {"CHIMERA_CONFIG": str(self.config_file)}
        environment = {**self._overrides, **self._scratch, **config}
        log_file = self.folder / "handover.log"
        command = [sys.executable, "-m", "chimera.cli", "up", "--detach"]
        child = Child(command, log_file=log_file, environment=environment)
        self.is_kept = True
        self._await(child, "`chimera up`", log_file, HAND_OVER_WITHIN_S, lambda: False)


def _overrides(folder: Path, is_embedded: bool) -> dict[str, str]:
    """What differs from the user's own settings, as the environment of child processes."""
    found = {
        "CHIMERA_STACK__DIR": str(folder),
        "CHIMERA_KAFKA__EMBEDDED_DIR": str(folder / "kafka"),
        "CHIMERA_POSTGRES__EMBEDDED_DIR": str(folder / "postgres"),
        "CHIMERA_SERVING__MODELS_DIR": str(folder / "models"),
        "CHIMERA_OBSERVABILITY__METRICS_PORT": str(free_port()),
    }
    if not is_embedded:
        name = f"demo-{secrets.token_hex(4)}"
        found |= {"CHIMERA_KAFKA__TOPIC_PREFIX": f"{name}.", "CHIMERA_KAFKA__GROUP": name}
    return found


def _applied(settings: Settings, overrides: dict[str, str]) -> Settings:
    fields: dict[str, Any] = settings.model_dump()
    for name, value in overrides.items():
        section, field = name.removeprefix("CHIMERA_").lower().split("__")
        fields[section][field] = value
    return Settings.model_validate(fields)


def toml(settings: Settings) -> str:
    """The settings as a file that `CHIMERA_CONFIG` may name; nothing that is secret."""
    sections = settings.model_dump(mode="json", exclude_defaults=True)
    lines: list[str] = []
    for section, fields in sections.items():
        held = getattr(settings, section)
        lines.append(f"[{section}]")
        lines += [
            f"{name} = {json.dumps(value)}"
            for name, value in fields.items()
            if value is not None and not isinstance(getattr(held, name), SecretStr)
        ]
    return "\n".join(lines) + "\n"


async def _delete_topics(settings: Settings) -> None:
    names = [topic.name for topic in catalogue(settings)]
    async with admin.connected(settings.kafka) as client:
        request = DeleteTopicsRequest(names, settings.kafka.request_timeout_ms)
        await client.send(client.get_random_node(), request)


def _tail(log_file: Path) -> str:
    return (
        log_file.read_text("utf-8", "replace").strip()[-2000:] if log_file.exists() else "nothing"
    )
