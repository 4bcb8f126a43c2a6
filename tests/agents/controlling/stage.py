"""A place for tests of the controller: topics of its own, a tenant, commands out, events back."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer
from prometheus_client import CollectorRegistry

from chimera.agents.controlling.controller import Controller
from chimera.agents.controlling.controller_metrics import ControllerMetrics
from chimera.agents.controlling.said import decode_action
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.model_commands import Command, encode_command
from chimera.schemas.model_events import CommandAnswered, Event, decode_event
from chimera.schemas.model_names import key
from chimera.schemas.model_observed import ModelObserved, decode_observed, encode_observed
from chimera.schemas.model_settings import ArtifactsSettings, ControllerSettings, KeysSettings
from chimera.schemas.model_state import ModelState, decode_state
from chimera.schemas.server_settings import KafkaSettings
from chimera.schemas.settings import Settings
from chimera.schemas.transparency.leaves import ActionTaken
from chimera.stores.postgres import Database
from chimera.topics.catalogue import Catalogue
from tests.agents.scene import Scene, deadly, killed, visible, with_topics
from tests.stores.content import KEY
from tests.stores.places import opened

WITHIN_S = 60.0
C = TypeVar("C", bound=Command)


def settings_of(bootstrap: str, prefix: str, store: Path) -> Settings:
    return Settings(
        kafka=KafkaSettings(
            bootstrap=bootstrap, group=f"{prefix}group", topic_prefix=prefix, partitions=1
        ),
        artifacts=ArtifactsSettings(url=str(store / "artifacts"), cache_dir=store / "cache"),
        keys=KeysSettings(
            signing_file=store / "none.pem",
            trusted_dir=store / "none",
            trusted=(KEY.public.text,),
        ),
        controller=ControllerSettings(poll_ms=30, judge_ms=50),
    )


@dataclass(frozen=True)
class Stage(Scene):
    """Of one test of the controller."""

    metrics: ControllerMetrics = field(
        default_factory=lambda: ControllerMetrics(CollectorRegistry())
    )

    def controller(self) -> Controller:
        return Controller(self.settings, self.bootstrap, self.place.database, metrics=self.metrics)

    def held(self, model: str = "digits") -> float | None:
        """What is shown of a model that cannot be rolled back."""
        labels = {"tenant": self.tenant, "model": model}
        (shown,) = self.metrics.held.collect()
        return next((one.value for one in shown.samples if one.labels == labels), None)

    def unread(self) -> float:
        """Rows of everybody's outbox that this release cannot read."""
        (shown,) = self.metrics.unread.collect()
        return shown.samples[0].value

    def command(self, kind: type[C], **fields: Any) -> C:
        """One of this tenant's, with an id of its own."""
        common = {"tenant": self.tenant, "model": "digits", "actor": "ada"}
        whole: dict[str, Any] = {"command_id": uuid.uuid4().hex, **common, **fields}
        return kind(**whole)

    async def send(self, *commands: Command) -> None:
        await self.send_raw(
            *((key(one.tenant, one.model), encode_command(one)) for one in commands)
        )

    async def observe(self, *records: ModelObserved) -> None:
        """What nodes would tell."""
        topic = self.topics.model_observed.name
        at = [(key(one.tenant, one.model), encode_observed(one)) for one in records]
        await self.send_raw(*at, topic=topic)

    async def send_raw(
        self, *records: tuple[bytes | None, bytes | None], topic: str | None = None
    ) -> None:
        """To `models.commands`, unless it is another topic."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, enable_idempotence=True)
        await producer.start()
        try:
            for record_key, value in records:
                await producer.send_and_wait(
                    topic or self.topics.model_commands.name, value, key=record_key
                )
        finally:
            await producer.stop()

    async def die(self, step: str) -> None:
        """A controller in a process that kills itself when it reaches the step."""
        await killed(_play_until, self.settings, self.dsn, step)

    async def events(self) -> list[Event]:
        """All that are visible, of this test's tenant."""
        found = await _read(self.bootstrap, self.topics.model_events.name)
        events = [decode_event(value) for value in found]
        return [one for one in events if one.tenant == self.tenant]

    async def states(self) -> list[ModelState]:
        found = await _read(self.bootstrap, self.topics.model_state.name)
        states = [decode_state(value) for value in found]
        return [one for one in states if one.tenant == self.tenant]

    async def actions(self) -> list[ActionTaken]:
        """Told to the audit log, of this test's tenant."""
        found = await _read(self.bootstrap, self.topics.audit_events.name)
        actions = [decode_action(value) for value in found]
        return [one for one in actions if one.tenant == self.tenant]

    async def answers(self, count: int) -> list[CommandAnswered]:
        """Waits until there are so many."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                events = await self.events()
                answers = [one for one in events if isinstance(one, CommandAnswered)]
                if len(answers) >= count:
                    return answers
                await asyncio.sleep(0.05)


Play = Callable[[Callable[[Stage], Awaitable[None]]], None]


@asynccontextmanager
async def staged(
    server: EmbeddedPostgres, bootstrap: str, prefix: str, store: Path
) -> AsyncGenerator[Stage]:
    settings = settings_of(bootstrap, prefix, store)
    topics = await with_topics(settings)
    async with opened(server) as place:
        yield Stage(place, server.dsn, settings, topics)


@asynccontextmanager
async def steered(stage: Stage) -> AsyncGenerator[Controller]:
    """A controller that leads."""
    controller = stage.controller()
    await controller.start()
    try:
        async with asyncio.timeout(WITHIN_S):
            await controller.leads.wait()
        yield controller
    finally:
        await controller.stop()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not holds():  # noqa: ASYNC110  # nothing announces it
            await asyncio.sleep(0.02)


@asynccontextmanager
async def asked_in_vain() -> AsyncGenerator[tuple[str, asyncio.Event]]:
    """A source that takes questions, the event says that it was asked, and answers none."""
    asked, ended = asyncio.Event(), asyncio.Event()

    async def hear(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with server:
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", asked
        finally:
            ended.set()


def with_source(stage: Stage, url: str) -> Stage:
    artifacts = stage.settings.artifacts.model_copy(update={"sources": (url,)})
    return replace(stage, settings=stage.settings.model_copy(update={"artifacts": artifacts}))


async def _read(bootstrap: str, topic: str) -> list[bytes]:
    return [record.value for record in await visible(bootstrap, topic) if record.value]


async def observations(bootstrap: str, topics: Catalogue) -> list[ModelObserved]:
    """All that nodes have told."""
    return [decode_observed(one) for one in await _read(bootstrap, topics.model_observed.name)]


async def events(bootstrap: str, topics: Catalogue) -> list[Event]:
    """All that happened, whoever told it."""
    return [decode_event(one) for one in await _read(bootstrap, topics.model_events.name)]


async def _die_at(settings: Settings, dsn: str, step: str) -> None:
    async with Database(dsn) as database:
        controller = Controller(settings, settings.kafka.bootstrap or "", database, deadly(step))
        await controller.start()
        await asyncio.sleep(WITHIN_S)


def _play_until(settings: Settings, dsn: str, step: str) -> None:
    asyncio.run(_die_at(settings, dsn, step))
