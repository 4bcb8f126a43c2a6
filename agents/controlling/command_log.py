"""`models.commands`, owned: read in order by one, answered in transactions with the position in it.

    opened ── fence ── what was said ── position ── poll ── commit ◂─┐
                                                      ▴──────────────┘
A position that does not fit the log (none, cut, the topic made anew) is its start: commands that are
answered are passed over, so reading again costs time alone. `tests/agents/controlling/test_controller.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient

from chimera.agents.controlling import said
from chimera.agents.controlling.said import Said
from chimera.schemas import headers
from chimera.schemas.batches import BATCH_BYTES, encode_all
from chimera.schemas.errors import KafkaUnavailable
from chimera.schemas.model_events import Event, encode_event
from chimera.schemas.model_names import key
from chimera.schemas.settings import Settings
from chimera.stores.registry.deployments import EVENTS, STATE
from chimera.stores.registry.outbox import AUDIT
from chimera.stores.registry.records import OutboxRecord
from chimera.topics import admin, clients
from chimera.topics.catalogue import catalogue
from chimera.topics.producers import Committed, Produced
from chimera.topics.transactions import TransactionalProducer, require_features

PARTITION = 0  # the only one; of `audit.events` the one that the controller writes
CLIENT = "chimera-controller"
_RECORDS = uuid.UUID("0b0f5a1e-5d0c-4b57-9a53-0f1c2a6f4a10")


class CommandRecord(NamedTuple):
    """What may be a command."""

    offset: int
    key: bytes | None
    value: bytes | None


class CommandLog:
    """Of one reign; after any error it is finished."""

    def __init__(self, settings: Settings, bootstrap: str, step: Callable[[str], None]) -> None:
        kafka = settings.kafka
        self.topics = catalogue(settings)
        self.transactional_id = f"{kafka.group}-models.commands-{PARTITION}"
        self.said = Said()
        self._settings, self._bootstrap, self._step = settings, bootstrap, step
        self.consumer_arguments = clients.consumer_arguments(kafka, bootstrap, CLIENT)
        self._where = TopicPartition(self.topics.model_commands.name, PARTITION)
        self.position: int = 0
        self._topic_id = ""

    @asynccontextmanager
    async def opened(self) -> "AsyncGenerator[CommandLog]":
        """Fences whoever had it.

        Raises:
            KafkaUnavailable: no broker, no topics, or no transactions. ProducerError, KafkaError.
        """
        topics = self.topics
        async with admin.connected(self._settings.kafka, self._bootstrap, CLIENT) as client:
            models = (topics.model_commands, topics.model_events, topics.model_state)
            needed = [one.name for one in (*models, topics.model_observed, topics.audit_events)]
            ids = await admin.topic_ids(client, needed)
            if missing := sorted(set(needed) - set(ids)):
                raise KafkaUnavailable(f"no topic {missing[0]}: `chimera topics sync --apply`")
            await client.set_topics(needed)
            await require_features(client)
            self._producer = self._new_producer(client)
            self._consumer = AIOKafkaConsumer(
                **self.consumer_arguments, fetch_max_wait_ms=self._settings.controller.poll_ms
            )
            try:
                await self._open(ids[self._where.topic])
                yield self
            finally:
                await self._consumer.stop()
                await self._producer.close()

    def _new_producer(self, client: AIOKafkaClient) -> TransactionalProducer:
        kafka = self._settings.kafka
        return TransactionalProducer(
            client,
            self.transactional_id,
            f"{kafka.group}-controller",  # its own group: offsets of it are nobody else's
            transaction_timeout_ms=self._settings.commit.transaction_timeout_ms,
            call_timeout_s=kafka.request_timeout_ms / 1000,
            step=self._step,
        )

    async def _open(self, topic_id: str) -> None:
        await self._producer.open()
        topics, where = self.topics, self._where
        self.said = await said.read(
            self.consumer_arguments,
            topics.model_events.name,
            topics.model_state.name,
            topics.audit_events.name,
        )
        committed = await self._producer.committed(*where)
        await self._consumer.start()
        self._consumer.assign([where])
        start = (await self._consumer.beginning_offsets([where]))[where]
        end = (await self._consumer.end_offsets([where]))[where]
        fits = committed and committed.topic_id == topic_id and start <= committed.offset <= end
        offset = committed.offset if committed and fits else start
        self._consumer.seek(where, offset)
        self.position = int(offset)
        self._topic_id = topic_id

    async def poll(self) -> list[CommandRecord]:
        """The next records, in order; none: nothing came for a while."""
        wait_ms = self._settings.controller.poll_ms
        found = await self._consumer.getmany(self._where, timeout_ms=wait_ms)
        return [
            CommandRecord(record.offset, record.key, record.value)
            for records in found.values()
            for record in records
        ]

    def id_of(self, record: CommandRecord) -> str:
        """The same whoever reads the record, and of no other: for what answers no command's id."""
        return uuid.uuid5(_RECORDS, f"{self._topic_id}/{record.offset}").hex

    async def commit(
        self, events: Iterable[Event], rows: Iterable[OutboxRecord], position: int
    ) -> None:
        """Make them visible, with the position, or nothing of it.

        Rows go first: what they tell had happened before.

        Raises:
            Fenced, Undecided, Refused.
        """
        topics, rows = self.topics, list(rows)
        told = [
            *_records(rows, EVENTS),
            *((key(one.tenant, one.model), _tail(encode_event(one))) for one in events),
        ]
        produced = [
            *_batches(topics.model_events.name, told),
            *_batches(topics.model_state.name, _records(rows, STATE)),
            *_batches(topics.audit_events.name, _records(rows, AUDIT)),
        ]
        committed = Committed(position, self._topic_id)
        await self._producer.commit(produced, *self._where, committed)
        self.position = position


def _records(rows: Iterable[OutboxRecord], topic: str) -> list[tuple[bytes, bytes]]:
    return [(one.key, _tail(one.value, one.headers)) for one in rows if one.topic == topic]


def _tail(value: bytes, pairs: Sequence[tuple[str, str]] = ()) -> bytes:
    encoded = headers.headers((name, text.encode()) for name, text in pairs)
    return headers.tail(value, len(pairs), encoded)


def _batches(topic: str, records: Sequence[tuple[bytes, bytes]]) -> list[Produced]:
    keys, tails = [one[0] for one in records], [one[1] for one in records]
    return [Produced(topic, PARTITION, one) for one in encode_all(keys, tails, BATCH_BYTES)]
