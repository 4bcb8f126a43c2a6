"""A place for tests of the training agent: topics of its own, a tenant, triggers in, events out."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from chimera.agents.training.agent import TrainingAgent
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.model_settings import KeysSettings, TrainerSettings, TrainingSettings
from chimera.schemas.settings import Settings
from chimera.schemas.training_events import Event, TriggerAnswered, decode_event
from chimera.schemas.training_rights import POLICY
from chimera.schemas.training_triggers import (
    CancelRun,
    ResumeRun,
    TrainModel,
    Trigger,
    encode_trigger,
    run_id_of,
)
from chimera.stores import keys
from chimera.stores.postgres import Database
from chimera.stores.registry import training_runs
from chimera.stores.registry.outbox import OF_TRAINING, Outbox
from chimera.stores.registry.training_runs import TrainingRun
from tests.agents.controlling.stage import settings_of
from tests.agents.scene import Scene, deadly, killed, with_topics
from tests.stores.places import opened
from tests.workers.training.places import ALLOWED, config

WITHIN_S = 240.0  # a trainer loads torch, on a busy machine
CANCEL_ALL = """
UPDATE training_runs SET state = 'cancelled', lease_owner = NULL, lease_until = NULL
WHERE state IN ('queued', 'running')
"""
RIGHTS = {"train": ["ada", "eve"], "promote": ["ada"]}


class Stage(Scene):
    """Of one test of the training agent."""

    @property
    def runs_dir(self) -> Path:
        return self.settings.training.dir / ".tenants" / self.tenant

    def with_trainer(self, **changes: Any) -> "Stage":
        trainer = self.settings.trainer.model_copy(update=changes)
        return replace(self, settings=self.settings.model_copy(update={"trainer": trainer}))

    def agent(self, step: Callable[[str], None] = lambda _: None) -> TrainingAgent:
        return TrainingAgent(self.settings, self.bootstrap, self.place.database, step)

    def order(self, trigger_id: str = "", **fields: Any) -> TrainModel:
        whole: dict[str, Any] = {
            "config": config(),
            "actor": "ada",
            "tenant": self.tenant,
            **fields,
        }
        return TrainModel(trigger_id=trigger_id or uuid.uuid4().hex, **whole)

    def cancel(self, run_id: str, actor: str = "ada") -> CancelRun:
        return CancelRun(
            trigger_id=uuid.uuid4().hex, tenant=self.tenant, actor=actor, run_id=run_id
        )

    def resume(self, run_id: str, actor: str = "ada") -> ResumeRun:
        return ResumeRun(
            trigger_id=uuid.uuid4().hex, tenant=self.tenant, actor=actor, run_id=run_id
        )

    def run_id(self, order: TrainModel) -> str:
        assert order.config is not None
        return run_id_of(self.tenant, order.trigger_id, order.config.name)

    async def send(self, *triggers: Trigger) -> None:
        await self.send_raw(*(encode_trigger(one) for one in triggers))

    async def send_raw(self, *values: bytes | None) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap)
        await producer.start()
        try:
            for value in values:
                await producer.send_and_wait(
                    self.topics.training_triggers.name, value, key=b"key", headers=[("mine", b"1")]
                )
        finally:
            await producer.stop()

    async def events(self, kind: type[Event] | None = None, run_id: str = "") -> list[Any]:
        """All events, or those of a kind or a run."""
        found = [
            decode_event(one.value) for one in await self.records(self.topics.training_events.name)
        ]
        of_run = [one for one in found if not run_id or getattr(one, "run_id", None) == run_id]
        return [one for one in of_run if kind is None or isinstance(one, kind)]

    async def until(self, kind: type[Event], run_id: str = "", count: int = 1) -> list[Any]:
        """Waits until there are so many."""
        async with asyncio.timeout(WITHIN_S):
            while len(found := await self.events(kind, run_id)) < count:  # noqa: ASYNC110  # nothing announces it
                await asyncio.sleep(0.1)
        return found

    async def answers(self, count: int) -> list[TriggerAnswered]:
        return await self.until(TriggerAnswered, count=count)

    async def die(self, step: str) -> None:
        """An agent in a process that kills itself when it reaches the step, or does for the n-th time."""
        await killed(_play_until, self.settings, self.dsn, step)

    async def run(self, run_id: str) -> TrainingRun:
        async with self.place.database.tenant(self.place.tenant.id) as connection:
            found = await training_runs.find(connection, run_id)
        assert found is not None
        return found


Play = Callable[[Callable[[Stage], Awaitable[None]]], None]


def training_settings(bootstrap: str, prefix: str, folder: Path) -> Settings:
    found = settings_of(bootstrap, prefix, folder)
    training = TrainingSettings(
        dir=folder / "runs", allowed=ALLOWED, sources=(f"file://{folder}/data",)
    )
    trainer = TrainerSettings(poll_ms=30, queue_ms=100, tell_s=0.1, lease_s=4.0, nice=0)
    held = KeysSettings(signing_file=folder / "signing.pem", trusted_dir=folder / "none")
    artifacts = found.artifacts.model_copy(update={"definitions": ALLOWED})
    return found.model_copy(
        update={"training": training, "trainer": trainer, "keys": held, "artifacts": artifacts}
    )


@asynccontextmanager
async def staged(
    server: EmbeddedPostgres, bootstrap: str, prefix: str, folder: Path
) -> AsyncGenerator[Stage]:
    settings = training_settings(bootstrap, prefix, folder)
    keys.create(settings.keys)
    topics = await with_topics(settings)
    async with opened(server) as place:
        await place.registry.put_policy(POLICY, RIGHTS, actor="test")
        left_over = Outbox(place.database, OF_TRAINING)  # by other tests, for topics of theirs
        await left_over.forget([one.id for one in await left_over.pending(10_000)])
        try:
            yield Stage(place, server.dsn, settings, topics)
        finally:
            async with place.database.tenant(place.tenant.id) as connection:
                await connection.execute(CANCEL_ALL)


@asynccontextmanager
async def working(
    stage: Stage, step: Callable[[str], None] = lambda _: None
) -> AsyncGenerator[TrainingAgent]:
    """An agent that leads."""
    agent = stage.agent(step)
    task = asyncio.create_task(agent.run())
    try:
        async with asyncio.timeout(WITHIN_S):
            await agent.leads.wait()
        yield agent
    finally:
        agent.stop()
        await task


async def _die_at(settings: Settings, dsn: str, step: str) -> None:
    async with Database(dsn) as database:
        agent = TrainingAgent(settings, settings.kafka.bootstrap or "", database, deadly(step))
        async with asyncio.timeout(WITHIN_S):
            await agent.run()


def _play_until(settings: Settings, dsn: str, step: str) -> None:
    asyncio.run(_die_at(settings, dsn, step))
