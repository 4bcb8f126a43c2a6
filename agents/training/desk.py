"""The desk: whoever leads takes triggers, hears controllers, fires policies, and publishes what is told.

    waits ── leads (a lock of Postgres) ── fences ── poll ── taken in the registry ──┐
      ▴                                               ▴                              │
      └── fenced, or Kafka or Postgres is away        └── rows deleted ◂── one transaction

A job stands in the registry before its trigger's offset is committed, and what is told of it waits in
the outbox. Killed anywhere, the next one takes the trigger again, which changes nothing, and finds at
the end of the topic what was told already. `tests/agents/training/test_desk.py` kills it at each step.
"""

# pyright: reportMissingTypeStubs=false
# (aiokafka ships no type information)

import asyncio
from collections.abc import Callable
from itertools import groupby
from typing import cast

import msgspec
import structlog
from aiokafka.errors import KafkaError

from chimera.agents.training.intake import Intake
from chimera.agents.training.policies import Policies
from chimera.agents.training.rehearsing import Rehearsing
from chimera.agents.training.releasing import Releasing
from chimera.agents.training.telling import Telling
from chimera.agents.training.traffic import Traffic
from chimera.agents.training.trigger_log import BATCH, Record, Told, TriggerLog
from chimera.schemas.errors import KafkaUnavailable, PostgresUnavailable
from chimera.schemas.settings import Settings
from chimera.stores.postgres import Database
from chimera.stores.registry.leadership import TRAINING_LOCK, leading
from chimera.stores.registry.outbox import OF_TRAINING, TRAINING, Outbox
from chimera.stores.registry.records import OutboxRecord
from chimera.stores.registry.training_positions import TrainingPositions
from chimera.topics import connections
from chimera.topics.producers import ProducerError

log = structlog.get_logger(__name__)

TRY_AGAIN_S = 1.0
PASSES = (ProducerError, KafkaUnavailable, KafkaError, PostgresUnavailable)


class _Identified(msgspec.Struct):
    event_id: str


class Desk:
    """Of one agent; `wake` is called when there may be a job."""

    # What a desk is made of comes one by one.
    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        database: Database,
        telling: Telling,
        wake: Callable[[], None],
        step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`step` is called by name at each stage. Raises ConfigurationError: a setting is wrong."""
        self.leads = asyncio.Event()
        self._settings, self._bootstrap, self._database = settings, bootstrap, database
        self._wake, self._step = wake, step
        topics = self._new_log().topics
        self._triggers = topics.training_triggers.name
        self._policies = Policies(database, telling, settings.trainer.judge_ms / 1000)
        dead = topics.training_dead_letters
        self._intake = Intake(settings, database, telling, self._policies, dead)
        self._releasing = Releasing(database, telling)
        self._rehearsing = Rehearsing(settings, bootstrap, database, telling, step)
        self._traffic = Traffic(settings, database, telling, step)
        self._outbox = Outbox(database, OF_TRAINING)

    async def run(self, stopping: asyncio.Event) -> None:
        """Lead whenever nobody else does, until `stopping`."""
        connections.install()
        while not stopping.is_set():
            try:
                await self._lead(stopping)
            except* PASSES as group:
                log.warning("desk_steps_down", reason=_told(cast(BaseException, group)))
                await asyncio.sleep(TRY_AGAIN_S)
            except* Exception:  # the boundary: runs that are under way go on
                log.exception("desk_failed")
                await asyncio.sleep(TRY_AGAIN_S)
            finally:
                self.leads.clear()

    async def _lead(self, stopping: asyncio.Event) -> None:
        async with (
            leading(self._database, TRAINING_LOCK) as still,
            self._new_log().opened() as records,
            asyncio.TaskGroup() as tasks,
        ):
            beside = [
                tasks.create_task(self._rehearsing.run(), name="rehearsing"),
                tasks.create_task(self._traffic.run(), name="traffic"),
            ]
            self.leads.set()
            log.info("desk_leads", transactional_id=records.transactional_id)
            while not stopping.is_set():
                found = await records.poll()
                now = await still()
                for _, of_topic in groupby(found, lambda one: one.topic):
                    await self._take(records, list(of_topic))
                if await self._policies.judge(now):
                    self._step("after_firing")
                await self._publish(records, Told(), None)
            for one in beside:
                one.cancel()
            await self._publish(records, Told(), None)

    def _new_log(self) -> TriggerLog:
        positions = TrainingPositions(self._database)
        return TriggerLog(self._settings, self._bootstrap, positions, self._step)

    async def _take(self, records: TriggerLog, found: list[Record]) -> None:
        """Neighbouring records of one topic, and one transaction."""
        if found[0].topic != self._triggers:
            for record in found:
                await self._releasing.hear(record.value or b"")
            await self._publish(records, Told(), found[-1])
            return
        taken = [await self._intake.take(record) for record in found]
        self._step("after_registry")
        dead = [one for told in taken for one in told.dead_letters]
        events = [one for told in taken for one in told.events]
        await self._publish(records, Told(dead, events), found[-1])
        self._wake()

    async def _publish(self, records: TriggerLog, told: Told, after: Record | None) -> None:
        """Make it visible with what waits in the outbox, then forget that."""
        rows = await self._outbox.pending(BATCH)
        fresh = [row for row in rows if _event_id(row) not in records.told]
        if fresh or after is not None:
            await records.commit(Told(told.dead_letters, told.events, fresh), after)
        if rows:
            records.told = {one for one in map(_event_id, rows) if one}
            await self._outbox.forget([row.id for row in rows])
            self._step("after_forget")


def _event_id(row: OutboxRecord) -> str:
    """Of a command there is none here: a controller knows by its own id that it comes again."""
    return (
        msgspec.json.decode(row.value, type=_Identified).event_id if row.topic == TRAINING else ""
    )


def _told(failure: BaseException) -> str:
    """The first of what went wrong: the others follow from it."""
    while isinstance(failure, ExceptionGroup):
        failure = cast(ExceptionGroup[Exception], failure).exceptions[0]
    return str(failure) or repr(failure)
