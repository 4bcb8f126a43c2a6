"""How many executors a request has killed, kept where the node's own death cannot lose it.

The topic `inference.attempts` is compacted; a count is acknowledged there before its request is
computed again, and forgotten once the request is committed. Key: `<topic>:<partition>:<offset>`.
The campaign `hostile` (`tests/integration/chaos`) restarts nodes between two deaths;
`tests/integration/test_added_partitions.py` writes some to a partition that is new.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from chimera.schemas.internal import Attempt, decode_attempt, encode_attempt

READ_TIMEOUT_MS = 1_000
EMPTY_WAIT_MS = 20  # a lane opens behind this


class Attempts:
    """One for a node; `start` and `stop` its producer."""

    def __init__(self, topic: str, client_arguments: Mapping[str, Any]) -> None:
        self._topic = topic
        self._client_arguments = client_arguments
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        self._producer = AIOKafkaProducer(**self._client_arguments, enable_idempotence=True)
        await self._producer.start()

    async def stop(self) -> None:
        if self._producer is not None:
            await self._producer.stop()

    async def record(
        self, topic: str, partition: int, deaths: Mapping[int, int], reason: str
    ) -> None:
        """Write counts down; returns when they are acknowledged."""
        await self._send(
            partition,
            (
                (_key(topic, partition, offset), encode_attempt(Attempt(count, reason)))
                for offset, count in deaths.items()
            ),
        )

    async def forget(self, topic: str, partition: int, offsets: Iterable[int]) -> None:
        """Mark counts for removal by compaction."""
        await self._send(partition, ((_key(topic, partition, offset), None) for offset in offsets))

    async def _send(self, partition: int, pairs: Iterable[tuple[bytes, bytes | None]]) -> None:
        assert self._producer is not None
        client = self._producer.client
        if partition not in (client.cluster.partitions_for_topic(self._topic) or ()):
            await client.force_metadata_update()  # it was added since
        sent = [
            await self._producer.send(self._topic, value, key=key, partition=partition)
            for key, value in pairs
        ]
        await asyncio.gather(*sent)

    async def load(self, topic: str, partition: int, position: int) -> dict[int, int]:
        """Counts of the partition's offsets from `position` on."""
        consumer = AIOKafkaConsumer(
            **self._client_arguments,
            isolation_level="read_committed",
            enable_auto_commit=False,
            fetch_max_wait_ms=EMPTY_WAIT_MS,
        )
        await consumer.start()
        try:
            return await self._read(consumer, f"{topic}:{partition}:", partition, position)
        finally:
            await consumer.stop()

    async def _read(
        self, consumer: AIOKafkaConsumer, prefix: str, partition: int, position: int
    ) -> dict[int, int]:
        where = TopicPartition(self._topic, partition)
        consumer.assign([where])
        end = (await consumer.end_offsets([where]))[where]
        first = (await consumer.beginning_offsets([where]))[where]
        consumer.seek(where, first)
        found: dict[int, int] = {}
        while await consumer.position(where) < end:
            for records in (await consumer.getmany(timeout_ms=READ_TIMEOUT_MS)).values():
                for record in records:
                    key = (record.key or b"").decode()
                    offset = int(key.removeprefix(prefix)) if key.startswith(prefix) else -1
                    if offset < position:
                        continue
                    found.pop(offset, None)
                    if record.value is not None:
                        found[offset] = decode_attempt(record.value).deaths
        return found


def _key(topic: str, partition: int, offset: int) -> bytes:
    return f"{topic}:{partition}:{offset}".encode()
