"""A reign: what the controller that leads does, from its fence until it is fenced itself.

    poll ── a command ──┬── done in the registry ──────────────────────┐
                        └── takes long: done beside all else, begun ───┼── told: one transaction ── outbox
    clock ── what is watched ── judged there ──────────────────────────┘

What may be done when is `order`'s to say. A command is done in the registry; then its answer, the
outbox's pending rows and the position become visible in one transaction; then the rows are deleted,
but for those that another release wrote and this one cannot read.
Killed anywhere, the next one finds nothing visible and does the command again, which changes nothing,
or all of it. One that takes long is told when it is begun: whoever leads next counts how often it
was, and gives it up at last, lest it end one controller after the other.
A record that is no command is answered with a refusal where its key names a model, else logged.
Versions are judged beside the commands; whoever tells has the turn. `test_controller.py`,
`test_long_commands.py` and `test_judging.py` in `tests/agents/controlling` kill it at each step.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import structlog

from chimera.agents.controlling import replies
from chimera.agents.controlling.command_log import CommandLog, CommandRecord
from chimera.agents.controlling.commands import Commands
from chimera.agents.controlling.controller_metrics import ControllerMetrics
from chimera.agents.controlling.judging import Judging
from chimera.agents.controlling.order import MOST, Long, Order
from chimera.agents.controlling.replies import Reply
from chimera.agents.controlling.said import sift
from chimera.schemas.errors import RequestError
from chimera.schemas.model_commands import Command
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
        metrics: ControllerMetrics,
    ) -> None:
        """`still`: raises if somebody else leads, and tells the time."""
        self._still, self._records, self._commands = still, records, commands
        self._outbox, self._judging, self._step = outbox, judging, step
        self._metrics = metrics
        self._unread: set[int] = set()  # of the outbox
        self._order = Order(records.position)
        self._turn = asyncio.Lock()
        self._long: dict[type[Command], asyncio.Task[None]] = {}  # one of each kind at a time

    async def run(self, stopping: asyncio.Event, judge_s: float) -> None:
        """Until `stopping` is set, and what is being done then is done; raises what ends it."""
        async with asyncio.TaskGroup() as tasks:
            judges = tasks.create_task(self._judge(judge_s))
            while not stopping.is_set() or any(map(self._is_busy, self._long)):
                await self._obey(tasks, stopping)
            judges.cancel()

    async def _obey(self, tasks: asyncio.TaskGroup, stopping: asyncio.Event) -> None:
        """Take what is new, do what may be done, tell what others left."""
        found = await self._records.poll()
        async with self._turn:
            await self._still()
        for record in found:
            await self._take(record)
            await self._do_ready()
        await self._do_ready()
        if not stopping.is_set():
            self._begin_long(tasks)
        if not found:
            async with self._turn:
                await self._tell(())

    def _is_busy(self, kind: type[Command]) -> bool:
        return kind in self._long and not self._long[kind].done()

    async def _judge(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            async with self._turn:
                found = await self._judging.judge(await self._still())
                if found is not None:
                    said = self._records.said
                    await self._tell([one for one in found if not said.is_known(one.event_id)])

    async def _take(self, record: CommandRecord) -> None:
        """Into the order, unless there is nothing to do about it."""
        try:
            command = replies.read_command(record.key, record.value)
        except RequestError as error:
            self._order.take(record.offset, None)
            await self._answer(self._refuse(record, error), record.offset)
            return
        self._order.take(record.offset, command)
        if self._is_repeated(record.offset, command):
            return
        if self._order.is_full and record.offset not in dict(self._order.ready()):
            why = f"{MOST} commands wait for what is compiled and registered; give it again later"
            await self._answer(self._refusal(command, why), record.offset)

    async def _do_ready(self) -> None:
        """All that may be done, but what takes long."""
        for offset, command in self._order.ready():
            if self._is_repeated(offset, command) or isinstance(command, Long):
                continue
            withdrawn = self._order.withdrawn_by(offset)
            events = await self._commands.do(command)
            self._step("after_registry")
            why = f"{command.command_id} rolled back while it waited; give it again"
            for one in {one.command_id: one for _, one in withdrawn}.values():
                events = (*self._refusal(one, why), *events)
            await self._answer(events, *(at for at, _ in withdrawn), offset)

    def _is_repeated(self, offset: int, command: Command) -> bool:
        """It was answered before, and is passed over."""
        if not self._records.said.is_answered(command.tenant, command.command_id):
            return False
        log.info("command_repeated", command_id=command.command_id, offset=offset)
        self._order.drop((offset,))
        return True

    def _begin_long(self, tasks: asyncio.TaskGroup) -> None:
        """The oldest of each kind that takes long, if there is any."""
        for offset, command in self._order.ready():
            if not isinstance(command, Long) or self._is_busy(type(command)):
                continue
            if not self._is_repeated(offset, command):
                self._long[type(command)] = tasks.create_task(self._do_long(offset, command))

    async def _do_long(self, offset: int, command: Long) -> None:
        attempt = self._records.said.begun(command.tenant, command.command_id) + 1
        if attempt > self._commands.most_attempts:
            why = f"it was begun {attempt - 1} times, and no controller lived to end it"
            await self._answer(self._reply(command).end("failed", why), offset)
            return
        await self._tell_progress(replies.begun(self._commands.source, command, attempt))
        self._step("after_begun")
        events = await self._commands.do(command, self._tell_progress)
        self._step("after_registry")
        await self._answer(events, offset)

    def _reply(self, command: Command) -> Reply:
        return replies.reply_to(self._commands.source, command)

    def _refusal(self, command: Command, why: str) -> tuple[Event, ...]:
        return self._reply(command).end("refused", why)

    async def _answer(self, events: tuple[Event, ...], *offsets: int) -> None:
        async with self._turn:
            await self._tell(events, *offsets)

    def _refuse(self, record: CommandRecord, error: RequestError) -> tuple[Event, ...]:
        log.warning("command_unreadable", offset=record.offset, reason=str(error))
        try:
            reply = replies.refusal_of(self._commands.source, record.key, record.value)
        except RequestError:
            return ()
        said = self._records.said
        if reply.command_id is None:
            reply.answer_id = self._records.id_of(record)
            is_answered = said.is_known(reply.answer_id)
        else:
            is_answered = said.is_answered(reply.tenant, reply.command_id)
        return () if is_answered else reply.end("refused", str(error))

    async def _tell_progress(self, event: Event) -> None:
        """Of a command that is still being done."""
        async with self._turn:
            await self._records.commit((event,), (), self._order.position)

    async def _tell(self, events: Sequence[Event], *answered: int) -> None:
        """Make all of it visible, with what waits in the outbox, then delete that."""
        said = self._records.said
        rows = await self._outbox.pending(but=self._unread)
        news = sift(rows, said)
        self._unread.update(news.unread)
        self._metrics.unread.set(len(self._unread))
        position = self._order.position_without(answered)
        if events or news.rows or position != self._records.position:
            await self._records.commit(events, news.rows, position)
        self._order.drop(answered)
        for event in (*news.events, *events):
            said.hear(event)
            if isinstance(event, CommandAnswered):
                _log_answer(event)
        for action in news.actions:
            said.record(action)
        for state in news.states:
            said.tell(state)
            await self._judging.look_at(state.tenant, state.model)
        if told := [row.id for row in rows if row.id not in self._unread]:
            await self._outbox.forget(told)
            self._step("after_forget")


def _log_answer(event: CommandAnswered) -> None:
    log.info(
        "command_answered",
        command_id=event.command_id,
        action=event.action,
        outcome=event.outcome,
        error=event.error,
    )
