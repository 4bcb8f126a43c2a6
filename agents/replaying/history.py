"""A partition's past: what it holds between two moments, read in pieces and never committed.

    spans      from times to offsets, of every partition of a topic
    Reader     a piece at a time, under `read_committed`; a fetch is all that it holds

It joins no group. Fetches are by topic id and read by the code that lanes read with, so that what is
compressed, aborted, transactional or foreign means here what it means there. Where retention removes
what was to be read next, reading goes on behind it, and says so. `tests/agents/replaying/test_history.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code

from chimera.agents.fetching import MOVED, OFFSET_OUT_OF_RANGE, SESSION_NONE
from chimera.agents.lanes.fetched import Fetched
from chimera.schemas.errors import KafkaUnavailable
from chimera.schemas.settings import Settings
from chimera.schemas.stored import Stored, is_whole
from chimera.topics import admin, clients, protocol
from chimera.topics.protocol import Uuid

FETCH_BYTES = 1 << 20  # of one fetch; a single larger batch still comes
FETCH_WAIT_MS = 200
PIECE_RECORDS = 512
READ_COMMITTED = 1
TRY_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets `start` to `stop` - 1 of a partition."""

    topic: str
    partition: int
    start: int
    stop: int
    is_cut: bool = False  # the log begins here, and not with its first record

    def __len__(self) -> int:
        return max(0, self.stop - self.start)


class History:
    """From `opened`."""

    def __init__(
        self,
        client: AIOKafkaClient,
        consumer: AIOKafkaConsumer,
        ids: dict[str, str],
        within_s: float,
    ) -> None:
        self.client, self.consumer, self.ids = client, consumer, ids
        self.within_s = within_s  # of one question, until the cluster counts as away

    async def spans(self, topic: str, since_ms: int, until_ms: int | None = None) -> list[Span]:
        """What was appended from `since_ms` on and before `until_ms` (None: until now), by partition.

        Raises:
            KafkaUnavailable: the brokers do not say.
        """
        try:
            await self.client.force_metadata_update()
            numbers = sorted(self.client.cluster.partitions_for_topic(topic) or ())
            parts = [TopicPartition(topic, number) for number in numbers]
            first = await self.consumer.beginning_offsets(parts)
            last = await self.consumer.end_offsets(parts)
            since = await self.consumer.offsets_for_times(dict.fromkeys(parts, since_ms))
            until: dict[TopicPartition, Any] = {}
            if until_ms is not None:
                until = await self.consumer.offsets_for_times(dict.fromkeys(parts, until_ms))
        except KafkaError as error:
            raise KafkaUnavailable(f"{topic}: the brokers do not tell offsets: {error}") from error
        found: list[Span] = []
        for part in parts:
            start = since[part].offset if since.get(part) else last[part]
            stop = until[part].offset if until.get(part) else last[part]
            is_cut = 0 < first[part] and start <= first[part]
            found.append(Span(topic, part.partition, start, min(stop, last[part]), is_cut))
        return found

    def reader(self, span: Span) -> "Reader":
        return Reader(self, span)

    async def fetch(self, topic: str, partition: int, position: int) -> Any:
        """The partition's part of the answer to one fetch, which may say that it is out of range.

        Raises:
            KafkaUnavailable: nobody answers in time, or the topic was made anew.
        """
        where = TopicPartition(topic, partition)
        given_up_s = time.monotonic() + self.within_s
        while True:
            node = self.client.cluster.leader_for_partition(where)
            trouble = "it has no leader"
            if node is not None and node >= 0:
                try:
                    answer, code = await self._ask(node, where, position)
                except KafkaError as error:
                    trouble = str(error) or repr(error)
                else:
                    if code in (0, OFFSET_OUT_OF_RANGE):
                        return answer
                    trouble = for_code(code).description
                    if code not in MOVED:
                        raise KafkaUnavailable(f"{topic}-{partition}: {trouble}")
            if time.monotonic() > given_up_s:
                raise KafkaUnavailable(f"{topic}-{partition}: {trouble}")
            await asyncio.sleep(TRY_AGAIN_S)
            await self.client.force_metadata_update()

    async def _ask(self, node: int, where: TopicPartition, position: int) -> tuple[Any, int]:
        wanted: list[Any] = [(where.partition, -1, position, -1, -1, FETCH_BYTES, {})]
        request = protocol.Exact(
            protocol.FetchStruct,
            FETCH_WAIT_MS,
            1,
            FETCH_BYTES,
            READ_COMMITTED,
            *SESSION_NONE,
            [(Uuid.read(self.ids[where.topic]), wanted, {})],
            [],
            "",
        )
        response = await self.client.send(node, request)
        for _, partitions, _ in response.topics:
            for answer in partitions:
                return answer, response.error_code or answer[1]
        return None, response.error_code

    async def beginning(self, topic: str, partition: int) -> int:
        where = TopicPartition(topic, partition)
        return int((await self.consumer.beginning_offsets([where]))[where])


class Reader:
    """Of one span, from its start to its stop."""

    def __init__(self, history: History, span: Span) -> None:
        self.position = span.start
        self.is_cut = span.is_cut
        self._history, self._span = history, span
        self._fetched: Fetched | None = None

    @property
    def is_at_end(self) -> bool:
        return self.position >= self._span.stop

    async def read(self) -> list[Stored]:
        """The next records, which may be none; `position` is behind them.

        Raises:
            KafkaUnavailable: see `History.fetch`. Damaged: what is stored is not what was written.
        """
        if self.is_at_end:
            return []
        if self._fetched is None or not self._fetched.has_more:
            self._fetched = await self._fetch()
        if self._fetched is None:
            return []
        run = self._fetched.take(PIECE_RECORDS)
        self.position = self._fetched.position
        if run is None:
            return []
        return [record for record in run.records if record.offset < self._span.stop]

    async def _fetch(self) -> Fetched | None:
        """None: the position was moved, to what is left."""
        span = self._span
        answer = await self._history.fetch(span.topic, span.partition, self.position)
        _, code, _, _, _, aborted, _, raw, _ = answer
        if code == OFFSET_OUT_OF_RANGE:
            begins = await self._history.beginning(span.topic, span.partition)
            self.position = begins if begins > self.position else span.stop
            self.is_cut = True
            return None
        if not raw or not is_whole(raw):  # the log was cut since its end was asked for
            self.position = span.stop
            return None
        pairs = [(producer, first) for producer, first, _ in aborted or ()]
        return Fetched(span.topic, span.partition, self.position, raw, pairs)


@asynccontextmanager
async def opened(settings: Settings, bootstrap: str, topics: list[str]) -> AsyncGenerator[History]:
    """The past of these topics.

    Raises:
        KafkaUnavailable: no broker, or one of the topics is missing.
    """
    kafka = settings.kafka
    async with admin.connected(kafka, bootstrap, "chimera-history") as client:
        ids = await admin.topic_ids(client, topics)
        if missing := sorted(set(topics) - set(ids)):
            raise KafkaUnavailable(
                f"there is no topic {', '.join(missing)}: `chimera topics sync --apply`"
            )
        client.set_topics(topics)
        consumer = AIOKafkaConsumer(
            **clients.consumer_arguments(kafka, bootstrap, "chimera-history")
        )
        await consumer.start()
        try:
            yield History(client, consumer, ids, kafka.request_timeout_ms / 1000)
        finally:
            await consumer.stop()
