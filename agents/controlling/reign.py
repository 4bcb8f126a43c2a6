"""A reign: what the controller that leads does, from its fence until it is fenced itself.

    poll ── a command ── done in the registry ──┐
                                                ├── told: one transaction ── marked
    clock ── what is watched ── judged there ───┘

For each command in order: it is done in the registry; then its answer, the outbox's pending rows and
the command's offset become visible in one transaction; then the rows are marked. Killed anywhere, the
next one finds nothing visible and does the command again, which changes nothing, or all of it.
A record that is no command is answered with a refusal where its key names a model, else logged.
Versions are judged beside the commands, so one that takes long, as to compile does, holds up no
rollback; whoever tells has the turn. `tests/agents/test_controller.py` and `test_judging.py` kill it
at each step.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from chimera.agents.controlling import replies
from chimera.agents.controlling.command_log import CommandLog, CommandRecord
from chimera.agents.controlling.commands import Commands
from chimera.agents.controlling.judging import Judging
from chimera.agents.controlling.said import sift
from chimera.schemas.errors import RequestError
from chimera.schemas.model_events import CommandAnswered, Event
from chimera.stores.registry.outbox import Outbox

log = structlog.get_logger(__name__)


class Reign:
    """All that it uses is open, and stays the caller's."""

    # What a reign is made of comes one by one.
    def __init__(
        self,
        still: Callable[[], Awaitable[datetime]],
        records: CommandLog,
        commands: Commands,
        outbox: Outbox,
        judging: Judging,
        step: Callable[[str], None],
    ) -> None:
        """`still`: raises if somebody else leads, and tells the time."""
        self._still, self._records, self._commands = still, records, commands
        self._outbox, self._judging, self._step = outbox, judging, step
        self._turn = asyncio.Lock()

    async def run(self, stopping: asyncio.Event, judge_s: float) -> None:
        """Until `stopping` is set, after the command that is being done; raises what ends it."""
        async with asyncio.TaskGroup() as tasks:
            judges = tasks.create_task(self._judge(judge_s))
            await self._obey(stopping)
            judges.cancel()

    async def _obey(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            found = await self._records.poll()
            async with self._turn:
                await self._still()
            for record in found:
                events = await self._answer(record)
                async with self._turn:
                    await self._tell(events, record.offset + 1)
                if stopping.is_set():
                    return
            if not found:
                async with self._turn:
                    await self._tell((), None)

    async def _judge(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            async with self._turn:
                if await self._judging.judge(await self._still()):
                    await self._tell((), None)

    async def _answer(self, record: CommandRecord) -> tuple[Event, ...]:
        """What became of a record; nothing, if it was told before or nobody can be told."""
        try:
            command = replies.read_command(record.key, record.value)
        except RequestError as error:
            return self._refuse(record, error)
        if self._records.said.is_answered(command.tenant, command.command_id):
            log.info("command_repeated", command_id=command.command_id, offset=record.offset)
            return ()
        events = await self._commands.do(command, self._tell_progress)
        self._step("after_registry")
        return events

    def _refuse(self, record: CommandRecord, error: RequestError) -> tuple[Event, ...]:
        log.warning("command_unreadable", offset=record.offset, reason=str(error))
        try:
            reply = replies.refusal_of(self._commands.source, record.key, record.value)
        except RequestError:
            return ()
        said = self._records.said
        if reply.command_id is not None and said.is_answered(reply.tenant, reply.command_id):
            return ()
        return reply.end("refused", str(error))

    async def _tell_progress(self, event: Event) -> None:
        """Of a command that is still being done."""
        async with self._turn:
            await self._records.commit((event,), (), None)

    async def _tell(self, events: tuple[Event, ...], next_offset: int | None) -> None:
        """Make all of it visible, with what waits in the outbox, then mark that."""
        said = self._records.said
        rows = await self._outbox.pending()
        news = sift(rows, said)
        if events or news.rows or next_offset is not None:
            await self._records.commit(events, news.rows, next_offset)
        for event in (*news.events, *events):
            said.answer(event)
            if isinstance(event, CommandAnswered):
                _log_answer(event)
        for action in news.actions:
            said.record(action)
        for state in news.states:
            said.tell(state)
            await self._judging.look_at(state.tenant, state.model)
        if rows:
            await self._outbox.mark_published([row.id for row in rows])
            self._step("after_mark")


def _log_answer(event: CommandAnswered) -> None:
    log.info(
        "command_answered",
        command_id=event.command_id,
        action=event.action,
        outcome=event.outcome,
        error=event.error,
    )
