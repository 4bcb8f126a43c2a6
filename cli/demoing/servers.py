"""The demo's servers: Kafka, unless the user has one, and a Postgres for the registry; side by side.

    start ─┬─ Postgres ── tables ─┬─ both may be written to, and signed for
           └─ Kafka ── topics ────┘

With a cluster of the user's own topics get a prefix that nobody else has, and are deleted at the end.
`tests/cli/demoing/test_demo.py` runs both.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (aiokafka ships no type information)

import asyncio

from aiokafka.protocol.admin import DeleteTopicsRequest

from chimera.cli.demoing.stages import Stage, Stages
from chimera.cli.kafka import jars as kafka_jars
from chimera.cli.kafka.server import EmbeddedKafka
from chimera.cli.stack.registry import StackRegistry
from chimera.cli.stack.stack import KAFKA_PORT, sync_topics
from chimera.schemas.settings import Settings
from chimera.topics import admin
from chimera.topics.catalogue import catalogue


class Servers:
    """`start`, use `bootstrap`, `stop`."""

    def __init__(self, settings: Settings, stages: Stages) -> None:
        self._settings, self._stages = settings, stages
        self._registry = StackRegistry(settings.postgres)
        self._kafka: EmbeddedKafka | None = None
        self._has_topics = False

    @property
    def bootstrap(self) -> str:
        own = self._settings.kafka.bootstrap
        if self._kafka is not None:
            return self._kafka.bootstrap
        if own is None:
            raise AssertionError("not started")
        return own

    @property
    def postgres(self) -> str:
        """host:port/database."""
        return self._registry.place

    def start(self) -> None:
        """
        Raises:
            ChimeraError: a server did not start; says which, and what its log says.
        """
        from chimera.stores import keys

        self._registry.begin()
        keys.create(self._settings.keys)
        if self._settings.kafka.bootstrap is None:
            with self._stages.begin("Kafka started") as stage:
                self._start_kafka(stage)
        with self._stages.begin("registry ready"):
            self._registry.finish()
        with self._stages.begin("topics made"):
            asyncio.run(sync_topics(self._settings, self.bootstrap, change=True))
            self._has_topics = True

    def stop(self) -> None:
        """Both are gone when it returns, and the topics from a cluster of the user's own."""
        if self._has_topics and self._kafka is None:
            asyncio.run(_delete_topics(self._settings))
        if self._kafka is not None:
            self._kafka.stop()
        self._registry.stop()

    def _start_kafka(self, stage: Stage) -> None:
        kafka = self._settings.kafka
        if size_bytes := kafka_jars.missing_bytes(kafka.jars_dir):
            told = f"Kafka is downloaded once: {size_bytes >> 20} MiB, to {kafka.jars_dir}"
            self._stages.say(told)
        self._kafka = EmbeddedKafka(
            kafka.embedded_dir,
            kafka.embedded_port,
            jars=kafka.jars_dir,
            progress=stage.fetch,
            is_brief=True,
            prefers=KAFKA_PORT,
        )
        self._kafka.start()


async def _delete_topics(settings: Settings) -> None:
    names = [topic.name for topic in catalogue(settings)]
    async with admin.connected(settings.kafka) as client:
        request = DeleteTopicsRequest(names, settings.kafka.request_timeout_ms)
        await client.send(client.get_random_node(), request)
