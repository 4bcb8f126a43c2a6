"""Requests that wait on a retry topic which the settings no longer name: no lane reads it.

Who takes a delay out of `CHIMERA_SERVING__RETRY_DELAYS_MS` leaves behind what has to wait for so long. The
topic's records from the group's offset on are read and counted, since markers of transactions lie between
them, and the offsets count those too; of very many, it is enough to know that. `tests/cli/test_stranded.py` leaves some behind.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from chimera.schemas.errors import KafkaUnavailable
from chimera.topics.catalogue import Catalogue

log = structlog.get_logger(__name__)

ADVICE = "set CHIMERA_SERVING__RETRY_DELAYS_MS back, with its delay, until they are answered"
READ_TIMEOUT_MS = 1_000
MOST = 10_000  # of a topic; each node that starts would read all of them
WITHIN_S = 60.0  # of a partition: a topic that is deleted meanwhile has no more records, and no end
FETCH_WAIT_MS = 20  # questions for offsets queue behind it


@dataclass(frozen=True, slots=True)
class Stranded:
    """A topic with some, and how many; `MOST` stands for more."""

    topic: str
    requests: int

    def __str__(self) -> str:
        more = " or more" if self.requests == MOST else ""
        count = f"{self.requests:,} request{'s' if self.requests > 1 else ''}{more}"
        return f"{self.topic}: no lane reads it, for the settings have no such delay: {count} left"


async def stranded(
    client: AIOKafkaClient, topics: Catalogue, group: str, consumer_arguments: Mapping[str, Any]
) -> list[Stranded]:
    """Those that the group has not answered; `consumer_arguments` as of `clients`.

    Raises:
        KafkaUnavailable: the broker did not answer, or lets nobody read such a topic.
    """
    try:
        partitions = await _unnamed(client, topics)
        if not partitions:
            return []
        arguments: dict[str, Any] = {**consumer_arguments, "fetch_max_wait_ms": FETCH_WAIT_MS}
        consumer = AIOKafkaConsumer(**arguments, group_id=group)
        try:
            await consumer.start()
            found: Counter[str] = Counter()
            for where in partitions:
                most = MOST - found[where.topic]
                found[where.topic] += await _count(consumer, where, most)
        finally:
            await consumer.stop()
    except KafkaError as error:
        raise KafkaUnavailable(f"retry topics of other settings: {error!r}") from error
    return [Stranded(topic, count) for topic, count in found.items() if count]


async def warn(
    client: AIOKafkaClient, topics: Catalogue, group: str, consumer_arguments: Mapping[str, Any]
) -> None:
    """Into the log."""
    try:
        for one in await stranded(client, topics, group, consumer_arguments):
            log.error("requests_stranded", topic=one.topic, requests=one.requests, do=ADVICE)
    except KafkaUnavailable as error:
        log.warning("stranded_requests_not_known", reason=str(error))


async def _unnamed(client: AIOKafkaClient, topics: Catalogue) -> list[TopicPartition]:
    """All partitions of retry topics that are not the catalogue's."""
    cluster = await client.fetch_all_metadata()
    start, known = topics.retry_prefix, {topic.name for topic in topics}
    names = sorted(name for name in cluster.topics() if name.startswith(start))
    return [
        TopicPartition(name, number)
        for name in names
        if name not in known
        for number in sorted(cluster.partitions_for_topic(name) or ())
    ]


async def _count(consumer: AIOKafkaConsumer, where: TopicPartition, most: int) -> int:
    """Records of a partition that are not committed. Raises KafkaUnavailable: they do not come."""
    consumer.assign([where])
    start = (await consumer.beginning_offsets([where]))[where]
    end = (await consumer.end_offsets([where]))[where]
    start = max(start, await consumer.committed(where) or 0)
    if start >= end:
        return 0
    consumer.seek(where, start)
    count, until_s = 0, time.monotonic() + WITHIN_S
    while count < most and await consumer.position(where) < end:
        if time.monotonic() >= until_s:
            raise KafkaUnavailable(f"{where.topic}: not read within {WITHIN_S:g} s")
        for records in (await consumer.getmany(timeout_ms=READ_TIMEOUT_MS)).values():
            count += sum(record.offset < end for record in records)
    return min(count, most)
