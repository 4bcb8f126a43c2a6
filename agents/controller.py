"""The controller: the one owner of `models.commands`, and the outbox's one publisher.

    waits ── leads (a lock of Postgres) ── fences ── does a command ── tells it ── marks ◂─┐
      ▴                                                     ▴──────────────────────────────┘
      └──── fenced, or Kafka or Postgres is away: whoever leads next goes on

For each command in order: it is done in the registry; then its answer, the outbox's pending rows and
the command's offset become visible in one transaction; then the rows are marked. Killed anywhere, the
next one finds nothing visible and does the command again, which changes nothing, or all of it.
A record that is no command is answered with a refusal where its key names a model, else logged.
`tests/agents/test_controller.py` kills it at each step.
"""

# pyright: reportMissingTypeStubs=false
# (aiokafka ships no type information)

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import structlog
from aiokafka.errors import KafkaError

from chimera.agents import replies
from chimera.agents.command_log import CommandLog, CommandRecord
from chimera.agents.commands import Commands
from chimera.agents.said import Said
from chimera.schemas.errors import KafkaUnavailable, PostgresUnavailable, RequestError
from chimera.schemas.model_events import CommandAnswered, Event
from chimera.schemas.model_state import ModelState, decode_state
from chimera.schemas.settings import Settings
from chimera.stores.postgres import Database
from chimera.stores.registry.deployments import TOPIC
from chimera.stores.registry.leadership import leading
from chimera.stores.registry.outbox import Outbox
from chimera.stores.registry.records import OutboxRecord
from chimera.topics import connections
from chimera.topics.producers import ProducerError

log = structlog.get_logger(__name__)

TRY_AGAIN_S = 1.0
STOP_WITHIN_S = 5.0  # a command that takes longer is done again by whoever leads next
PASSES = (ProducerError, KafkaUnavailable, KafkaError, PostgresUnavailable)


class Controller:
    """After `start` it waits for its turn, and leads until `stop`."""

    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        database: Database,
        step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`database` is started, and stays the caller's; `step` is called by name at each stage.

        Raises:
            ConfigurationError: the store of artifacts, or a trusted key, is wrong.
        """
        self.leads = asyncio.Event()
        self._database, self._step = database, step
        self._new_log = partial(CommandLog, settings, bootstrap, step)
        self._source = self._new_log().transactional_id
        self._commands = Commands(settings, database, self._source)
        self._outbox = Outbox(database)
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns at once; whether it leads is another question."""
        connections.install()
        self._task = asyncio.create_task(self._run(), name="controller")

    async def stop(self) -> None:
        """Ends after the command that it does, if that is soon; what is left is the next one's."""
        if self._task is None:
            return
        self._stopping.set()
        if self.leads.is_set():
            await asyncio.wait((self._task,), timeout=STOP_WITHIN_S)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._lead()
            except PASSES as error:
                log.warning("controller_steps_down", reason=str(error) or repr(error))
                await asyncio.sleep(TRY_AGAIN_S)
            except Exception:  # the boundary: a node that serves must not lose its controller
                log.exception("controller_failed")
                await asyncio.sleep(TRY_AGAIN_S)
            finally:
                self.leads.clear()

    async def _lead(self) -> None:
        async with leading(self._database) as still, self._new_log().opened() as commands:
            self.leads.set()
            log.info("controller_leads", transactional_id=self._source)
            while not self._stopping.is_set():
                records = await commands.poll()
                await still()
                for record in records:
                    events = await self._answer(commands.said, record)
                    await self._tell(commands, events, record.offset + 1)
                    if self._stopping.is_set():
                        return
                if not records:
                    await self._tell(commands, (), None)

    async def _answer(self, said: Said, record: CommandRecord) -> tuple[Event, ...]:
        """What became of a record; nothing, if it was told before or nobody can be told."""
        try:
            command = replies.read_command(record.key, record.value)
        except RequestError as error:
            return self._refuse(said, record, error)
        if said.is_answered(command.tenant, command.command_id):
            log.info("command_repeated", command_id=command.command_id, offset=record.offset)
            return ()
        events = await self._commands.do(command)
        self._step("after_registry")
        return events

    def _refuse(self, said: Said, record: CommandRecord, error: RequestError) -> tuple[Event, ...]:
        log.warning("command_unreadable", offset=record.offset, reason=str(error))
        try:
            reply = replies.refusal_of(self._source, record.key, record.value)
        except RequestError:
            return ()
        if reply.command_id is not None and said.is_answered(reply.tenant, reply.command_id):
            return ()
        return reply.end("refused", str(error))

    async def _tell(
        self, commands: CommandLog, events: tuple[Event, ...], next_offset: int | None
    ) -> None:
        """Make all of it visible, with what waits in the outbox, then mark that."""
        rows = await self._outbox.pending()
        new = sift(rows, commands.said)
        if events or new or next_offset is not None:
            await commands.commit(events, (one.row for one in new), next_offset)
        for event in events:
            commands.said.answer(event)
            if isinstance(event, CommandAnswered):
                log.info(
                    "command_answered",
                    command_id=event.command_id,
                    action=event.action,
                    outcome=event.outcome,
                    error=event.error,
                )
        for one in new:
            commands.said.tell(one.state)
        if rows:
            await self._outbox.mark_published([row.id for row in rows])
            self._step("after_mark")


class News(NamedTuple):
    row: OutboxRecord
    state: ModelState


def sift(rows: Iterable[OutboxRecord], said: Said) -> list[News]:
    """The rows that are still to be sent; one that is no state of a model never is."""
    found: list[News] = []
    for row in rows:
        try:
            state = decode_state(row.value)
        except RequestError as error:
            log.error("outbox_row_refused", id=row.id, topic=row.topic, reason=str(error))
            continue
        if row.topic != TOPIC:
            log.error("outbox_row_refused", id=row.id, topic=row.topic, reason="nobody writes it")
        elif said.is_told(state):
            log.info("state_told_before", model=state.model, revision=state.revision)
        else:
            found.append(News(row, state))
    return found
