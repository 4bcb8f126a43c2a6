"""`audit.log`, read: the last record, or leaves from one place of the log to another.

A leaf's place is in its record's header; its offset is somewhere behind that number, because the
broker's own markers lie between, and what was aborted. So the place is looked for, by halves.
Committed records alone. `tests/integration/test_sequencer.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from chimera.schemas.transparency.log_records import Headers, Indexed, index_of

READ_TIMEOUT_MS = 50  # markers at the end bring no records, and would be waited for
NEAR = 64  # offsets: from here on records are read rather than looked for
FIRST_STEP, MAX_STEP = 16, 4_096  # offsets back from the end; so many records wait in memory


class LogReader:
    """Of one topic of one partition; from `reading`."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer = consumer
        self._where = TopicPartition(topic, 0)

    async def last(self) -> tuple[bytes, Headers] | None:
        """Value and headers of the last record; None: there is none."""
        async with aclosing(self.backwards()) as records:
            return await anext(records, None)

    async def backwards(self) -> AsyncGenerator[tuple[bytes, Headers]]:
        """Value and headers of each record, the last one first."""
        begins, ends = await self._bounds()
        step = FIRST_STEP
        while ends > begins:
            start = max(begins, ends - step)
            found = [one async for records in self._records(start, ends) for one in records]
            for record in reversed(found):
                yield record.value or b"", record.headers
            ends, step = start, min(step * FIRST_STEP, MAX_STEP)

    async def leaves(self, start: int = 0, end: int | None = None) -> AsyncGenerator[list[Indexed]]:
        """Leaves `start` to `end` - 1, as far as they are there, some at a time.

        Raises:
            EvidenceMalformed: a record that does not say its place; while reading.
        """
        begins, ends = await self._bounds()
        offset = begins if start == 0 else await self._offset_of(start, begins, ends)
        async for records in self._records(offset, ends):
            found = [Indexed(index_of(one.headers), one.value or b"") for one in records]
            if found[0].log_index < start:
                found = [one for one in found if one.log_index >= start]
            if end is not None and found and found[-1].log_index >= end:
                yield [one for one in found if one.log_index < end]
                return
            yield found

    async def headers_of(self, log_index: int) -> Headers | None:
        """Of one leaf's record; None: it is not there."""
        begins, ends = await self._bounds()
        offset = await self._offset_of(log_index, begins, ends)
        async for records in self._records(offset, ends):
            for record in records:
                index = index_of(record.headers)
                if index >= log_index:
                    return record.headers if index == log_index else None
        return None

    async def values(self) -> AsyncGenerator[list[bytes]]:
        """Of all records, whatever they are, some at a time."""
        async for records in self._records(*await self._bounds()):
            yield [one.value or b"" for one in records]

    async def _offset_of(self, log_index: int, low: int, high: int) -> int:
        """Where to begin to read: not behind the leaf, and near it."""
        while high - low > NEAR:
            middle = (low + high) // 2
            is_before = False
            async for records in self._records(middle, high):
                is_before = index_of(records[0].headers) <= log_index
                break
            low, high = (middle, high) if is_before else (low, middle)
        return low

    async def _bounds(self) -> tuple[int, int]:
        self._consumer.assign([self._where])
        begins = await self._consumer.beginning_offsets([self._where])
        ends = await self._consumer.end_offsets([self._where])
        return begins[self._where], ends[self._where]

    async def _records(self, start: int, end: int) -> AsyncGenerator[list[Any]]:
        """Never an empty list."""
        self._consumer.seek(self._where, start)
        while await self._consumer.position(self._where) < end:
            found = await self._consumer.getmany(self._where, timeout_ms=READ_TIMEOUT_MS)
            for records in found.values():
                if records[-1].offset >= end:
                    records = [one for one in records if one.offset < end]
                if records:
                    yield records


@asynccontextmanager
async def reading(arguments: Mapping[str, Any], topic: str) -> AsyncGenerator[LogReader]:
    """`arguments`: of a consumer, see `clients.consumer_arguments`."""
    consumer = AIOKafkaConsumer(**arguments, fetch_max_wait_ms=20)
    await consumer.start()
    try:
        yield LogReader(consumer, topic)
    finally:
        await consumer.stop()
