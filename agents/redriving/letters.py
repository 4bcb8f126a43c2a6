"""Dead letters, and what was replayed of them: read from the oldest on, partition after partition.

A lane's letters keep their order, so those of one key do. What is not one of ours is passed over, and
said. `tests/cli/test_dlq.py` reads what real lanes wrote.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import AsyncGenerator
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from chimera.schemas.control_actions import REPLAYED
from chimera.schemas.errors import RequestError, SchemaInvalid
from chimera.schemas.transparency.leaves import ActionTaken, decode_leaf
from chimera.topics import redrives
from chimera.topics.catalogue import Topic
from chimera.topics.redrives import Letter

log = structlog.get_logger(__name__)

READ_TIMEOUT_MS = 50
_NAMED = f'"{REPLAYED}"'.encode()


async def letters(
    consumer: AIOKafkaConsumer, topic: Topic, since_ms: int = 0
) -> AsyncGenerator[Letter]:
    """Of all that are there when it begins; `since_ms`: by the time at which they were written."""
    async for record in _records(consumer, topic, since_ms):
        letter = read(record)
        if letter is not None:
            yield letter


async def replays(consumer: AIOKafkaConsumer, events: Topic) -> dict[str, ActionTaken]:
    """What was replayed, by the event's id: the letter's own place."""
    found: dict[str, ActionTaken] = {}
    async for record in _records(consumer, events, 0):
        if record.value is None or _NAMED not in record.value:
            continue
        try:
            event = decode_leaf(record.value)
        except RequestError:
            continue  # the sequencer says so
        if isinstance(event, ActionTaken) and event.action == REPLAYED:
            found[event.event_id] = event
    return found


async def letter_at(
    consumer: AIOKafkaConsumer, topic: Topic, partition: int, offset: int
) -> Letter | None:
    """None: there is no letter there, or no more."""
    where = TopicPartition(topic.name, partition)
    async for record in _between(consumer, where, offset, offset + 1):
        return read(record)
    return None


def read(record: Any) -> Letter | None:
    """None: we did not write it."""
    where = (record.topic, record.partition, record.offset)
    try:
        return redrives.read(where, record.timestamp, record.key, record.value, record.headers)
    except SchemaInvalid as error:
        coordinates = ":".join(map(str, where))
        log.warning("dead_letter_unreadable", record=coordinates, reason=str(error))
        return None


async def _records(consumer: AIOKafkaConsumer, topic: Topic, since_ms: int) -> AsyncGenerator[Any]:
    parts = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    consumer.assign(parts)
    starts = await consumer.beginning_offsets(parts)
    ends = await consumer.end_offsets(parts)
    if since_ms:
        found = await consumer.offsets_for_times(dict.fromkeys(parts, since_ms))
        starts = {part: one.offset if one else ends[part] for part, one in found.items()}
    for part in parts:
        async for record in _between(consumer, part, starts[part], ends[part]):
            yield record


async def _between(
    consumer: AIOKafkaConsumer, part: TopicPartition, start: int, end: int
) -> AsyncGenerator[Any]:
    consumer.assign([part])
    end = min(end, (await consumer.end_offsets([part]))[part])
    consumer.seek(part, start)
    while await consumer.position(part) < end:
        for records in (await consumer.getmany(part, timeout_ms=READ_TIMEOUT_MS)).values():
            for record in records:
                if record.offset < end:
                    yield record
