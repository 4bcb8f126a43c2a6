"""`training.triggers`, owned, beside what controllers answer: read by one, told of in transactions.

    opened ── fence ── what was told last ── positions ── poll ── commit ◂─┐
                                                            ▴──────────────┘
A transaction holds dead letters, events and commands, with the position in one of the two topics; the
event of a policy that fired brings its trigger along. What
was made visible and not yet deleted from the outbox is found at the end of `training.events`: one
publisher at a time tells at most `BATCH` rows and then deletes them. Where the group has no position
that fits its topic, the registry's is taken, and without that the topic's start: a trigger that was
refused is not judged again, by rights that were given since. `tests/agents/training/test_desk.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient

from chimera.agents.training.fitting import fitted
from chimera.schemas import headers
from chimera.schemas.batches import BATCH_BYTES, encode_all
from chimera.schemas.errors import KafkaUnavailable, RequestError
from chimera.schemas.settings import Settings
from chimera.schemas.training_events import PolicyFired, decode_event
from chimera.stores.registry.outbox import TRAINING
from chimera.stores.registry.records import OutboxRecord
from chimera.stores.registry.training_positions import TrainingPositions
from chimera.topics import admin, clients
from chimera.topics.catalogue import Topic, catalogue
from chimera.topics.dead_letters import Copy
from chimera.topics.producers import Committed, Produced
from chimera.topics.transactions import TransactionalProducer, require_features

log = structlog.get_logger(__name__)

PARTITION = 0  # of every topic here: the only one
BATCH = 256  # rows of the outbox that one transaction tells
CLIENT = "chimera-training"
EMPTY_WAIT_MS = 20
FIRED = PolicyFired.__struct_config__.tag


class Record(NamedTuple):
    """What may be a trigger, or what a controller has told."""

    topic: str
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class Told(NamedTuple):
    """What one transaction makes visible."""

    dead_letters: Sequence[Copy] = ()
    events: Sequence[tuple[bytes, bytes]] = ()  # keys and values
    rows: Sequence[OutboxRecord] = ()


class TriggerLog:
    """Of one who leads; after any error it is finished."""

    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        positions: TrainingPositions,
        step: Callable[[str], None],
    ) -> None:
        self._settings, self._bootstrap, self._step = settings, bootstrap, step
        self._positions = positions
        self.topics = catalogue(settings)
        self.transactional_id = f"{settings.kafka.group}-training"
        self.told: set[str] = set()  # ids of the events that stand at the end
        self._arguments = clients.consumer_arguments(settings.kafka, bootstrap, CLIENT)
        self._next: dict[str, Committed] = {}

    @asynccontextmanager
    async def opened(self) -> "AsyncGenerator[TriggerLog]":
        """Fences whoever had it.

        Raises:
            KafkaUnavailable: no broker, no topics, or no transactions. ProducerError, KafkaError,
            PostgresUnavailable.
        """
        async with admin.connected(self._settings.kafka, self._bootstrap, CLIENT) as client:
            ids = await self._topic_ids(client)
            await client.set_topics(list(ids))
            await require_features(client)
            self._producer = self._new_producer(client)
            self._consumer = AIOKafkaConsumer(
                **self._arguments, fetch_max_wait_ms=self._settings.trainer.poll_ms
            )
            try:
                await self._producer.open()
                await self._consumer.start()
                self.told = await self._last_told()
                await self._take_position(ids)
                yield self
            finally:
                await self._consumer.stop()
                await self._producer.close()

    async def _topic_ids(self, client: AIOKafkaClient) -> dict[str, str]:
        topics = self.topics
        written = (topics.training_dead_letters, topics.training_events, topics.model_commands)
        needed = [one.name for one in (*self._inputs, *written)]
        ids = await admin.topic_ids(client, needed)
        if missing := sorted(set(needed) - set(ids)):
            raise KafkaUnavailable(f"no topic {missing[0]}: `chimera topics sync --apply`")
        return ids

    @property
    def _inputs(self) -> tuple[Topic, Topic]:
        return self.topics.training_triggers, self.topics.model_events

    def _new_producer(self, client: AIOKafkaClient) -> TransactionalProducer:
        kafka = self._settings.kafka
        return TransactionalProducer(
            client,
            self.transactional_id,
            f"{kafka.group}-training",  # its own group: offsets of it are nobody else's
            transaction_timeout_ms=self._settings.commit.transaction_timeout_ms,
            call_timeout_s=kafka.request_timeout_ms / 1000,
            step=self._step,
        )

    async def _last_told(self) -> set[str]:
        """Ids of the last events; twice as many as a transaction has, since each ends in a marker."""
        where = TopicPartition(self.topics.training_events.name, PARTITION)
        consumer, found = self._consumer, set[str]()
        consumer.assign([where])
        end = (await consumer.end_offsets([where]))[where]
        start = (await consumer.beginning_offsets([where]))[where]
        consumer.seek(where, max(start, end - 4 * BATCH))
        while await consumer.position(where) < end:
            for record in (await consumer.getmany(timeout_ms=EMPTY_WAIT_MS)).get(where, ()):
                try:
                    found.add(decode_event(record.value or b"").event_id)
                except RequestError:
                    continue
        return found

    async def _take_position(self, ids: dict[str, str]) -> None:
        consumer = self._consumer
        places = [TopicPartition(one.name, PARTITION) for one in self._inputs]
        consumer.assign(places)
        starts = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
        for where in places:
            topic_id = ids[where.topic]
            found = await self._producer.committed(where.topic, PARTITION)
            of_group = found.offset if found and found.topic_id == topic_id else None
            known = (of_group, await self._positions.find(topic_id))
            fits = (one for one in known if one is not None and starts[where] <= one <= ends[where])
            offset = next(fits, starts[where])
            consumer.seek(where, offset)
            self._next[where.topic] = Committed(offset, topic_id)
            await self._positions.keep(topic_id, offset)

    async def poll(self) -> list[Record]:
        """The next records of both topics, each's in order; none: nothing came for a while."""
        found = await self._consumer.getmany(timeout_ms=self._settings.trainer.poll_ms)
        return [
            Record(
                record.topic,
                record.offset,
                record.timestamp,
                record.key,
                record.value,
                tuple(record.headers),
            )
            for records in found.values()
            for record in records
        ]

    async def commit(self, told: Told, after: Record | None) -> None:
        """Make it visible, with the position after a record (none: where it was), or nothing of it.

        Raises:
            Fenced, Undecided, Refused; PostgresUnavailable: it is visible.
        """
        topic = self._inputs[0].name if after is None else after.topic
        if after is not None:
            self._next[topic] = Committed(after.offset + 1, self._next[topic].topic_id)
        events = [(key, headers.tail(value, 0, b"")) for key, value in told.events]
        commands: list[tuple[bytes, bytes]] = []
        triggers: list[tuple[bytes, bytes]] = []
        for row in told.rows:
            if (value := self._fitted(row)) is None:
                continue
            into = events if row.topic == TRAINING else commands
            into.append((row.key, headers.tail(value, 0, b"")))
            if row.topic == TRAINING and (order := _order_in(value)):
                triggers.append((row.key, headers.tail(order, 0, b"")))
        dead = [(one.key, _tail(one)) for one in told.dead_letters]
        produced = [
            *_batches(self.topics.training_dead_letters.name, dead),
            *_batches(self.topics.training_events.name, events),
            *_batches(self.topics.model_commands.name, commands),
            *_batches(self.topics.training_triggers.name, triggers),
        ]
        await self._producer.commit(produced, topic, PARTITION, self._next[topic])
        if after is not None:
            await self._positions.keep(self._next[topic].topic_id, after.offset + 1)

    def _fitted(self, row: OutboxRecord) -> bytes | None:
        """None: it is given up, for what waits behind it."""
        topics = self.topics
        topic = topics.training_events if row.topic == TRAINING else topics.model_commands
        value = fitted(row, topic.max_message_bytes)
        if value is None:
            log.error("record_left_out", topic=topic.name, key=row.key, size_bytes=len(row.value))
        return value


class _Fired(msgspec.Struct):
    event: str
    order: msgspec.Raw = msgspec.Raw(b"")


def _order_in(event: bytes) -> bytes:
    """The trigger that goes with an event; empty: none does."""
    found = msgspec.json.decode(event, type=_Fired)
    return bytes(found.order) if found.event == FIRED else b""


def _tail(copy: Copy) -> bytes:
    encoded = headers.headers(copy.headers)
    return headers.tail(copy.value, len(copy.headers), encoded)


def _batches(topic: str, records: Sequence[tuple[bytes | None, bytes]]) -> list[Produced]:
    keys, tails = [one[0] for one in records], [one[1] for one in records]
    return [Produced(topic, PARTITION, one) for one in encode_all(keys, tails, BATCH_BYTES)]
