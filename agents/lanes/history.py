"""What is decided of an input partition, as told by what decisions leave behind: outcomes, and retries.

    requests      the latest results name their requests, and so do the latest records to be tried again
    retry topic   its records name the requests that they came from: one is decided where a result, or a
                  record on a higher retry topic, names the same request

A lane decides in order, so all before the last decided record is decided, too. The group's offsets are
not asked: this is for when they are lost. `tests/cli/test_offsets.py` loses them, and so does the
campaign `forgotten`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from chimera.schemas import headers as names
from chimera.schemas.errors import SchemaInvalid
from chimera.topics import dead_letters
from chimera.topics.catalogue import Catalogue

LAST_RECORDS = 500  # read back to find the last request that they name
FIRST_STEP = 2_000  # records of a retry topic's first look back; each further one is twice as far
CLOCKS_MS = 10_000  # what brokers' clocks may differ
READ_TIMEOUT_MS = 1_000

Name = tuple[str, int, int]
"""A request, by the topic, partition and offset where it first stood."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A partition's readable offsets: `start` <= offset < `end`."""

    start: int
    end: int


class Decided(NamedTuple):
    """The last record that a result tells of, and the last that moved to a retry topic; None: none."""

    answered: int | None = None
    moved: int | None = None

    @property
    def last(self) -> int | None:
        """Of both."""
        return max((offset for offset in self if offset is not None), default=None)


class _Waiting(NamedTuple):
    """A retry topic's record."""

    offset: int
    appended_ms: int
    request: Name


class History:
    """Of one input partition, by a consumer that is nobody else's meanwhile."""

    def __init__(
        self, consumer: AIOKafkaConsumer, topics: Catalogue, where: TopicPartition
    ) -> None:
        self._consumer, self._where = consumer, where
        self._results = TopicPartition(topics.results.name, where.partition)
        retries = [TopicPartition(topic.name, where.partition) for topic in topics.retries]
        self.is_retry = where in retries
        self._higher = retries[retries.index(where) + 1 :] if self.is_retry else retries

    async def decided(self) -> Decided:
        """What is known. Of a retry topic all records are read, and results as far back as they tell."""
        if not self.is_retry:
            moved = [await self._last_named(one, _moved) for one in self._higher]
            latest = max((offset for offset in moved if offset is not None), default=None)
            return Decided(await self._last_named(self._results, _answered), latest)
        waiting = await self._waiting()
        moved = [await self._last_of(waiting, one, _moved) for one in self._higher]
        latest = max((offset for offset in moved if offset is not None), default=None)
        return Decided(await self._last_of(waiting, self._results, _answered), latest)

    async def is_brief(self, records: int) -> bool:
        """Whether so many records, or fewer, tell all; not if retention may have removed some."""
        bounds = await bounds_of(self._consumer, self._where)
        if bounds.end - bounds.start > records:
            return False
        first = await anext(self._read(self._where, bounds.start, bounds.end), None)
        if first is None:
            return True
        for told in (self._results, *self._higher):
            bounds = await bounds_of(self._consumer, told)
            since = await self._since(told, first.timestamp, bounds.end)
            if bounds.end - since > records or 0 < bounds.start >= since:
                return False
        return True

    async def _last_named(
        self, told: TopicPartition, named: Callable[[Any], Name | None]
    ) -> int | None:
        """The highest offset here that the latest records of a topic name."""
        bounds = await bounds_of(self._consumer, told)
        found: int | None = None
        async for record in self._read(told, bounds.end - LAST_RECORDS, bounds.end):
            name = named(record)
            if name is not None and name[:2] == self._where:
                found = max(found or 0, name[2])
        return found

    async def _waiting(self) -> list[_Waiting]:
        bounds = await bounds_of(self._consumer, self._where)
        topic, number = self._where.topic, self._where.partition
        return [
            _Waiting(one.offset, one.timestamp, _moved(one) or (topic, number, one.offset))
            async for one in self._read(self._where, bounds.start, bounds.end)
        ]

    async def _last_of(
        self,
        waiting: Sequence[_Waiting],
        told: TopicPartition,
        named: Callable[[Any], Name | None],
    ) -> int | None:
        """The last of these that a topic tells of: back to where the one behind it was not there yet."""
        offsets = {one.request: one.offset for one in waiting}
        found, step = -1, FIRST_STEP
        high = end = (await bounds_of(self._consumer, told)).end
        while behind := next((one for one in waiting if one.offset > found), None):
            since = await self._since(told, behind.appended_ms, end)
            low = max(since, high - step)
            if low >= high:
                break
            async for record in self._read(told, low, high):
                name = named(record)
                found = max(found, offsets.get(name, -1) if name else -1)
            high, step = low, 2 * step
        return None if found < 0 else found

    async def _since(self, told: TopicPartition, appended_ms: int, end: int) -> int:
        """The first offset there that is not older."""
        asked = {told: max(0, appended_ms - CLOCKS_MS)}
        found = (await self._consumer.offsets_for_times(asked))[told]
        return end if found is None else int(found.offset)

    async def _read(self, where: TopicPartition, low: int, high: int) -> AsyncGenerator[Any]:
        """The records from `low`, or the log's start, to `high` - 1."""
        consumer = self._consumer
        low = max(low, (await bounds_of(consumer, where)).start)
        if low >= high:
            return
        consumer.assign([where])
        consumer.seek(where, low)
        while await consumer.position(where) < high:
            for records in (await consumer.getmany(timeout_ms=READ_TIMEOUT_MS)).values():
                for record in records:
                    if record.offset < high:
                        yield record


async def bounds_of(consumer: AIOKafkaConsumer, where: TopicPartition) -> Bounds:
    start = (await consumer.beginning_offsets([where]))[where]
    end = (await consumer.end_offsets([where]))[where]
    return Bounds(start, end)


def _answered(result: Any) -> Name | None:
    """Of which request it is the outcome."""
    told = dict(result.headers)
    with suppress(KeyError, ValueError, TypeError, AttributeError):  # no lane has written it
        topic = told[names.REQUEST_TOPIC].decode()
        return topic, int(told[names.REQUEST_PARTITION]), int(told[names.REQUEST_OFFSET])
    return None


def _moved(retry: Any) -> Name | None:
    """Which request is to be tried again."""
    try:
        _, story = dead_letters.split(retry.headers)
    except SchemaInvalid:
        return None
    origin = story.origin
    return origin.topic, origin.partition, origin.offset
