"""What was made visible before: commands begun and answered, judgements, audit events, newest states.

Read when a controller has fenced its predecessor, so nothing can be added behind its back. A command
that comes twice, or whose offset was lost, is not answered twice; a row of the outbox that was sent
and not deleted is not sent again. It reaches as far back as `models.events` does, which is as far as
`models.commands` does. `tests/agents/controlling/test_controller.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from chimera.schemas.control_actions import OF_THE_REGISTRY
from chimera.schemas.errors import RequestError, SchemaInvalid
from chimera.schemas.model_events import (
    CommandAnswered,
    CommandBegun,
    Event,
    ModelRolledBack,
    WatchJudged,
    decode_event,
)
from chimera.schemas.model_state import ModelState, decode_state
from chimera.schemas.transparency.leaves import ActionTaken, decode_leaf
from chimera.stores.registry.deployments import EVENTS, STATE
from chimera.stores.registry.outbox import AUDIT
from chimera.stores.registry.records import OutboxRecord

log = structlog.get_logger(__name__)

READ_TIMEOUT_MS = 1_000
EMPTY_WAIT_MS = 20


class Said:
    """Sets in memory: commands are as many as people give."""

    def __init__(self) -> None:
        self._answered: set[tuple[str, str]] = set()
        self._known: set[str] = set()
        self._begun: dict[tuple[str, str], int] = {}
        self._recorded: set[str] = set()
        self._revisions: dict[tuple[str, str], int] = {}

    def is_answered(self, tenant: str, command_id: str) -> bool:
        return (tenant, command_id) in self._answered

    def is_told(self, state: ModelState) -> bool:
        """Whether this state, or a later one, is on `models.state`."""
        return state.revision <= self._revisions.get((state.tenant, state.model), 0)

    def is_known(self, event_id: str) -> bool:
        """Whether this event, whose id follows from what it tells, is on `models.events`."""
        return event_id in self._known

    def begun(self, tenant: str, command_id: str) -> int:
        """How often a command that takes long was begun."""
        return self._begun.get((tenant, command_id), 0)

    def is_recorded(self, action: ActionTaken) -> bool:
        """Whether this event is on `audit.events`."""
        return action.event_id in self._recorded

    def record(self, action: ActionTaken) -> None:
        self._recorded.add(action.event_id)

    def hear(self, event: Event) -> None:
        """It is on `models.events`."""
        if isinstance(event, CommandAnswered) and event.command_id is not None:
            self._answered.add((event.tenant, event.command_id))
            self._begun.pop((event.tenant, event.command_id), None)
        elif isinstance(event, CommandAnswered | WatchJudged | ModelRolledBack):
            self._known.add(event.event_id)
        elif isinstance(event, CommandBegun) and event.command_id is not None:
            self._begun[event.tenant, event.command_id] = event.attempt

    def tell(self, state: ModelState) -> None:
        if not self.is_told(state):
            self._revisions[state.tenant, state.model] = state.revision


@dataclass(slots=True)
class News:
    """Rows of the outbox that are still to be sent, and what they say."""

    rows: list[OutboxRecord] = field(default_factory=list[OutboxRecord])
    states: list[ModelState] = field(default_factory=list[ModelState])
    events: list[Event] = field(default_factory=list[Event])
    actions: list[ActionTaken] = field(default_factory=list[ActionTaken])
    unread: list[int] = field(default_factory=list[int])  # ids; a later release may read them


def sift(rows: Iterable[OutboxRecord], said: Said) -> News:
    """What is new of these rows; one that is nothing of these is for another release to tell."""
    news = News()
    for row in rows:
        try:
            if row.topic == STATE:
                state = decode_state(row.value)
                is_new = not said.is_told(state)
                news.states += [state] if is_new else []
            elif row.topic == EVENTS:
                event = decode_event(row.value)
                is_new = not said.is_known(event.event_id)
                news.events += [event] if is_new else []
            elif row.topic == AUDIT:
                action = decode_action(row.value)
                is_new = not said.is_recorded(action)
                news.actions += [action] if is_new else []
            else:
                raise SchemaInvalid("nobody's topic")
        except RequestError as error:
            log.error("outbox_row_unread", id=row.id, topic=row.topic, reason=str(error))
            news.unread.append(row.id)
            continue
        if is_new:
            news.rows.append(row)
        else:
            log.info("outbox_row_told_before", id=row.id, topic=row.topic)
    return news


def decode_action(value: bytes) -> ActionTaken:
    """Raises Malformed, SchemaInvalid: it is no action."""
    leaf = decode_leaf(value)
    if not isinstance(leaf, ActionTaken):
        raise SchemaInvalid("it is no action")
    return leaf


async def read(
    consumer_arguments: Mapping[str, Any], events: str, state: str, audit_events: str
) -> Said:
    """All that the topics hold now, of the last one what a controller has written there.

    What cannot be read was not written by a controller.
    """
    said = Said()
    consumer = AIOKafkaConsumer(**consumer_arguments, fetch_max_wait_ms=EMPTY_WAIT_MS)
    await consumer.start()
    try:
        async for value in _values(consumer, TopicPartition(events, 0)):
            try:
                said.hear(decode_event(value))
            except RequestError:
                continue
        async for value in _values(consumer, TopicPartition(state, 0)):
            try:
                said.tell(decode_state(value))
            except RequestError:
                continue
        async for value in _values(consumer, TopicPartition(audit_events, 0)):
            try:
                action = decode_action(value)
                if action.action in OF_THE_REGISTRY:
                    said.record(action)
            except RequestError:
                continue
    finally:
        await consumer.stop()
    return said


async def _values(consumer: AIOKafkaConsumer, where: TopicPartition) -> AsyncGenerator[bytes]:
    consumer.assign([where])
    end = (await consumer.end_offsets([where]))[where]
    consumer.seek(where, (await consumer.beginning_offsets([where]))[where])
    while await consumer.position(where) < end:
        for records in (await consumer.getmany(timeout_ms=READ_TIMEOUT_MS)).values():
            for record in records:
                if record.value is not None:
                    yield record.value
