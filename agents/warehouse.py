"""A reader of the warehouse: one topic into its table of ClickHouse, at the sink's pace.

    Kafka ── rows made ── a few ahead ── Sink.add ── Sink.flush ── positions committed, as the floor
                                             └ ClickHouse is away: try again, and read no more meanwhile

One process at a time (`holding.py`) reads all partitions. The engine blocks, so it is called from a
thread, one call at a time. What is committed in Kafka follows what is in the table, never the other
way round; a table whose rows a retention removed is not filled again because of it. What cannot be
read, or does not fit what is there, ends it: another topic of the same name, too (`warehouse_readers.py`
has the others go on).
`tests/integration/test_warehouse.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from chimera.agents import holding
from chimera.agents.warehouse_metrics import WarehouseMetrics
from chimera.schemas.errors import ClickHouseUnavailable, KafkaUnavailable
from chimera.schemas.server_settings import KafkaSettings
from chimera.stores.sink import Sink
from chimera.stores.source import Record
from chimera.topics import admin, clients, connections
from chimera.topics.catalogue import Topic

T = TypeVar("T")

log = structlog.get_logger(__name__)

CLIENT = "chimera-warehouse"
FETCH_BYTES = 4 << 20  # of a partition; 1 MiB would be two segments, and a round trip for each two
WORTH_BYTES = 64 << 10  # less is waited for: a lane commits fifty times a second, a sink once
AHEAD = 2  # fetches whose rows wait, made, while a batch is inserted
POLL_MS = 200  # and no longer
AGAIN_S = 1.0  # after ClickHouse did not answer; it doubles
MAX_AGAIN_S = 30.0


class Warehouse:
    """Of one topic and one sink; `start`, then `run` until cancelled, then `stop`."""

    def __init__(
        self, topic: Topic, sink: Sink, metrics: WarehouseMetrics, kafka: KafkaSettings
    ) -> None:
        """Positions are committed for a group of its own, `<group>.warehouse`."""
        self._metrics = metrics
        sink.inserted = self._count
        self._topic, self._kafka = topic.name, kafka
        self._parts = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        self._sink = sink
        self._consumer = AIOKafkaConsumer(
            **clients.consumer_arguments(kafka, None, CLIENT),
            group_id=f"{kafka.group}.warehouse",
            auto_offset_reset="none",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_min_bytes=WORTH_BYTES,
            fetch_max_wait_ms=POLL_MS,
        )
        self._opened = AsyncExitStack()
        self._opened.push_async_callback(self._consumer.stop)
        self._committed: dict[TopicPartition, int] = {}

    @property
    def table(self) -> str:
        return self._sink.table

    async def start(self) -> None:
        """Take over from whoever wrote the table, and find where each partition goes on.

        Raises:
            HistoryConflict: a table does not fit what its sink had decided, or the topic.
            KafkaUnavailable, ProducerError, KafkaError: start again.
        """
        connections.install()
        client = await self._opened.enter_async_context(admin.connected(self._kafka, None, CLIENT))
        ids = await admin.topic_ids(client, [self._topic])
        if self._topic not in ids:
            raise KafkaUnavailable(f"no topic {self._topic}: `chimera topics sync --apply`")
        held = holding.held(client, self._kafka, self._topic)
        self._sink.hold = (await self._opened.enter_async_context(held)).require
        await self._consumer.start()
        self._consumer.assign(self._parts)
        begins = await self._consumer.beginning_offsets(self._parts)
        for part in self._parts:
            await self._go_on(part, begins[part], ids[self._topic])
        log.info("warehouse_reads", topic=self._topic, partitions=len(self._parts))

    async def _go_on(self, part: TopicPartition, begins: int, topic_id: str) -> None:
        floor = await self._consumer.committed(part) or 0
        end = (await self._consumer.end_offsets([part]))[part]
        resume = partial(self._sink.resume, part.partition, floor, topic_id, end)
        start = await self._until_it_answers(resume)
        if 0 < start < begins:
            log.error("records_were_removed", **part._asdict(), start=start, begins=begins)
        self._consumer.seek(part, max(start, begins))

    async def run(self) -> None:
        """Read, until cancelled.

        Raises:
            Malformed, SchemaInvalid, HistoryConflict: going on would lose rows.
            ProducerError, KafkaError: start again; another one may have taken over.
        """
        read: asyncio.Queue[Sequence[Sequence[Record]]] = asyncio.Queue(AHEAD)
        reading = asyncio.create_task(self._read(read), name=f"warehouse-{self._topic}")
        try:
            while True:
                for records in await _next(read, reading):
                    await self._take(records)
                positions = await self._until_it_answers(self._sink.flush)
                await self._commit(positions)
                self._show(positions)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, into: "asyncio.Queue[Sequence[Sequence[Record]]]") -> None:
        """Records of each partition, their rows made while others are inserted; none, if none came."""
        while True:
            found = await self._consumer.getmany(timeout_ms=POLL_MS)
            await into.put(
                [
                    await asyncio.to_thread(
                        self._sink.ahead, [_record(part, one) for one in records]
                    )
                    for part, records in found.items()
                ]
            )

    async def stop(self) -> None:
        """What waits is read again by whoever comes next."""
        await self._opened.aclose()

    async def _take(self, records: Sequence[Record]) -> None:
        await self._until_it_answers(lambda: self._sink.add(*records))

    async def _commit(self, positions: Mapping[int, int]) -> None:
        new = {
            part: positions[part.partition]
            for part in self._parts
            if positions[part.partition] > self._committed.get(part, 0)
        }
        if new:
            await self._consumer.commit(new)
            self._committed |= new

    def _count(self, rows: int, oldest_ms: int) -> None:
        """By the sink, from a thread, after each INSERT."""
        self._metrics.rows.labels(self._sink.table).inc(rows)
        waited_s = max(0.0, time.time() - oldest_ms / 1000)
        self._metrics.visible_seconds.labels(self._sink.table).observe(waited_s)

    def _show(self, positions: Mapping[int, int]) -> None:
        for part in self._parts:
            end = self._consumer.highwater(part)
            if end is not None:
                lag = self._metrics.lag_records.labels(self._sink.table, part.partition)
                lag.set(end - positions[part.partition])

    async def _until_it_answers(self, call: Callable[[], T]) -> T:
        pause_s = AGAIN_S
        while True:
            try:
                return await asyncio.to_thread(call)
            except ClickHouseUnavailable as error:
                self._metrics.unavailable.labels(self._sink.table).inc()
                log.warning("clickhouse_unavailable", reason=str(error), again_in_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(MAX_AGAIN_S, pause_s * 2)


async def _next(read: "asyncio.Queue[T]", reading: "asyncio.Task[None]") -> T:
    """What was read next; raises what ended `reading`."""
    getting = asyncio.ensure_future(read.get())
    try:
        await asyncio.wait((getting, reading), return_when=asyncio.FIRST_COMPLETED)
        if not getting.done():
            reading.result()
        return await getting
    finally:
        getting.cancel()


def _record(part: TopicPartition, record: Any) -> Record:
    value = record.value or b""
    return Record(part.partition, record.offset, record.timestamp, value, record.headers)
