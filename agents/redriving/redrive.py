"""Dead letters back to their topic: each at most once, whoever asks, however often, killed anywhere.

    fence ── what was replayed ── letters ── chosen ── {requests, audit events}: one transaction
                                                ▴─────────────────────────────────────┘
An event's id is the letter's own place: topic id, partition, offset. Events of replays on `audit.events`
are what is remembered; each is in one transaction with the request that it tells of, and of two who
replay one is fenced. Events are kept for ever, letters are not. `tests/cli/test_dlq.py` replays
twice, and kills it.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from chimera.agents.redriving.letters import letters, replays
from chimera.schemas import headers
from chimera.schemas.batches import BATCH_BYTES, encode_all
from chimera.schemas.control_actions import Act, replayed
from chimera.schemas.errors import ConfigurationError, KafkaUnavailable, SchemaInvalid
from chimera.schemas.settings import Settings
from chimera.schemas.transparency.leaves import ActionTaken, encode_leaf
from chimera.topics import admin, clients, redrives
from chimera.topics.catalogue import Topic, catalogue
from chimera.topics.dead_letters import Copy
from chimera.topics.producers import Produced
from chimera.topics.redrives import Letter
from chimera.topics.transactions import TransactionalProducer, require_features

CLIENT = "chimera-redrive"
TOGETHER = 100  # letters of a transaction
TOGETHER_BYTES = 4_194_304


@dataclass(frozen=True, slots=True)
class Wish:
    """Which letters, by whom, and why."""

    actor: str
    reason: str = ""
    since_ms: int = 0  # written then or later
    codes: frozenset[str] = frozenset()  # none: any
    limit: int | None = None
    drops_deadline: bool = False

    def takes(self, letter: Letter) -> bool:
        return not self.codes or letter.failure.code in self.codes


@dataclass(slots=True)
class Report:
    """What became of the letters that a wish names."""

    replayed: int = 0
    before: int = 0  # replayed by an earlier one
    refused: Counter[str] = field(default_factory=Counter[str])  # why, and how many


class Redrive:
    """Of one dead-letter topic; from `opened`."""

    def __init__(
        self, settings: Settings, bootstrap: str, dead: Topic, step: Callable[[str], None]
    ) -> None:
        """`step` is called by name at each stage of a transaction: fail-points."""
        self._settings, self._bootstrap, self._step = settings, bootstrap, step
        topics = catalogue(settings)
        is_training = dead == topics.training_dead_letters
        self.dead, self._events = dead, topics.audit_events
        self._target = topics.training_triggers if is_training else topics.requests

    @asynccontextmanager
    async def opened(self) -> "AsyncGenerator[Redrive]":
        """Raises KafkaUnavailable: no broker, or not any more. ConfigurationError: a topic is missing."""
        kafka = self._settings.kafka
        async with admin.connected(kafka, self._bootstrap, CLIENT) as client:
            names = [one.name for one in (self.dead, self._target, self._events)]
            ids = await admin.topic_ids(client, names)
            if missing := sorted(set(names) - set(ids)):
                raise ConfigurationError(f"no topic {missing[0]}: `chimera topics sync --apply`")
            self._dead_id = ids[self.dead.name]
            await client.set_topics(names)
            await require_features(client)
            self._producer = self._new_producer(client)
            arguments = clients.consumer_arguments(kafka, self._bootstrap, CLIENT)
            self._consumer = AIOKafkaConsumer(**arguments, fetch_max_wait_ms=20)
            try:
                await self._consumer.start()
                yield self
            except KafkaError as error:
                raise KafkaUnavailable(str(error) or repr(error)) from error
            finally:
                await self._consumer.stop()
                await self._producer.close()

    def _new_producer(self, client: AIOKafkaClient) -> TransactionalProducer:
        kafka = self._settings.kafka
        return TransactionalProducer(
            client,
            f"{kafka.group}-{self.dead.name}",
            f"{kafka.group}.redrive",  # of no use: positions are not what is remembered
            transaction_timeout_ms=self._settings.commit.transaction_timeout_ms,
            call_timeout_s=kafka.request_timeout_ms / 1000,
            step=self._step,
        )

    @property
    def consumer(self) -> AIOKafkaConsumer:
        return self._consumer

    async def replays(self) -> Mapping[str, ActionTaken]:
        """What was replayed, by `identity`."""
        return await replays(self._consumer, self._events)

    def identity(self, letter: Letter) -> str:
        return f"{self._dead_id}:{letter.partition}:{letter.offset}"

    async def look(self, wish: Wish) -> Report:
        """What a replay would do now."""
        report = Report()
        async for _ in self._chosen(wish, report):
            report.replayed += 1
        return report

    async def replay(self, wish: Wish) -> Report:
        """Raises ProducerError: somebody else replays, or a broker refuses; what is done is done."""
        await self._producer.open()
        report, together = Report(), list[tuple[Letter, Copy]]()
        size = 0
        async for letter, copy in self._chosen(wish, report):
            if len(together) == TOGETHER or (together and size + copy.size_bytes > TOGETHER_BYTES):
                await self._commit(together, wish, report)
                together, size = [], 0
            together.append((letter, copy))
            size += copy.size_bytes
        if together:
            await self._commit(together, wish, report)
        return report

    async def _chosen(self, wish: Wish, report: Report) -> AsyncGenerator[tuple[Letter, Copy]]:
        """Those to be replayed; the report counts the others."""
        known, count = await self.replays(), 0
        now_ms = time.time_ns() // 1_000_000
        async for letter in letters(self._consumer, self.dead, wish.since_ms):
            if count == wish.limit:
                return
            if not wish.takes(letter):
                continue
            if self.identity(letter) in known:
                report.before += 1
                continue
            try:
                drops = wish.drops_deadline
                copy = redrives.replay(letter, self._target, now_ms, drops_deadline=drops)
            except SchemaInvalid as error:
                report.refused[str(error)] += 1
                continue
            count += 1
            yield letter, copy

    async def _commit(
        self, together: Sequence[tuple[Letter, Copy]], wish: Wish, report: Report
    ) -> None:
        requests: dict[int, list[tuple[bytes | None, bytes]]] = defaultdict(list)
        events: dict[int, list[tuple[bytes | None, bytes]]] = defaultdict(list)
        for letter, copy in together:
            told = headers.headers(copy.headers)
            tail = headers.tail(copy.value, len(copy.headers), told)
            requests[letter.origin.partition].append((copy.key, tail))
            event = headers.tail(encode_leaf(self._event(letter, wish)), 0, b"")
            where = letter.partition % self._events.partitions
            events[where].append((wish.actor.encode(), event))
        produced = [
            Produced(topic.name, number, batch)
            for topic, records in ((self._target, requests), (self._events, events))
            for number, pairs in records.items()
            for batch in encode_all(
                [one[0] for one in pairs], [one[1] for one in pairs], BATCH_BYTES
            )
        ]
        await self._producer.commit_all(produced, {})
        report.replayed += len(together)

    def _event(self, letter: Letter, wish: Wish) -> ActionTaken:
        at_ms = time.time_ns() // 1_000_000
        act = Act(wish.actor, at_ms, self.identity(letter), wish.reason)
        return replayed(act, letter.name, letter.request, letter.failure.code, letter.generation)
