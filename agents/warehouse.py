"""A reader of the warehouse: one topic into its table of ClickHouse, at the sink's pace.

    Kafka ── records ── Sink.add ── Sink.flush ── positions committed, as the floor for a restart
                            └ ClickHouse is away: try again, and read nothing meanwhile

One process reads all partitions. The engine blocks, so it is called from a thread, one call at a
time. What is committed in Kafka follows what is in the table, never the other way round; a table
whose rows a retention removed is not filled again because of it. What cannot be read, or does not
fit what is there, ends it. `tests/integration/test_warehouse.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from chimera.agents.warehouse_metrics import WarehouseMetrics
from chimera.schemas.errors import ClickHouseUnavailable
from chimera.stores.sink import Sink
from chimera.stores.source import Record

T = TypeVar("T")

log = structlog.get_logger(__name__)

POLL_MS = 200
AGAIN_S = 1.0  # after ClickHouse did not answer; it doubles
MAX_AGAIN_S = 30.0


class Warehouse:
    """Of one topic and one sink; `start`, then `run` until cancelled, then `stop`."""

    def __init__(
        self,
        topic: str,
        partitions: int,
        sink: Sink,
        metrics: WarehouseMetrics,
        client_arguments: Mapping[str, Any],
    ) -> None:
        """`client_arguments` name the group under which positions are committed."""
        self._metrics = metrics
        sink.inserted = self._count
        self._topic = topic
        self._parts = [TopicPartition(topic, number) for number in range(partitions)]
        self._sink = sink
        self._consumer = AIOKafkaConsumer(**client_arguments, auto_offset_reset="earliest")
        self._committed: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        """Find where each partition goes on.

        Raises:
            HistoryConflict: a table does not fit what its sink had decided.
        """
        await self._consumer.start()
        self._consumer.assign(self._parts)
        for part in self._parts:
            floor = await self._consumer.committed(part) or 0
            begins = (await self._consumer.beginning_offsets([part]))[part]
            resume = partial(self._sink.resume, part.partition, floor)
            start = await self._until_it_answers(resume)
            if start < begins and start > 0:
                log.error("records_were_removed", **part._asdict(), start=start, begins=begins)
            self._consumer.seek(part, max(start, begins))
        log.info("warehouse_reads", topic=self._topic, partitions=len(self._parts))

    async def run(self) -> None:
        """Read, until cancelled.

        Raises:
            Malformed, SchemaInvalid, HistoryConflict: going on would lose rows.
        """
        while True:
            found = await self._consumer.getmany(timeout_ms=POLL_MS)
            for part, records in found.items():
                await self._take([_record(part, one) for one in records])
            positions = await self._until_it_answers(self._sink.flush)
            await self._commit(positions)
            self._show(positions)

    async def stop(self) -> None:
        """What waits is read again by whoever comes next."""
        await self._consumer.stop()

    async def _take(self, records: Sequence[Record]) -> None:
        def add() -> None:
            for record in records:  # those that were taken before it failed are known, and skipped
                self._sink.add(record)

        await self._until_it_answers(add)

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
                lag.set(max(0, end - positions[part.partition]))

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


def _record(part: TopicPartition, record: Any) -> Record:
    value = record.value or b""
    return Record(part.partition, record.offset, record.timestamp, value, record.headers)
