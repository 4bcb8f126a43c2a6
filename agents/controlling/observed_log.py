"""`models.observed` as the controller reads it: from a moment on, then whatever is new.

It has no group and commits nothing: where it starts follows from what is watched.
`tests/agents/controlling/test_judging.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from chimera.schemas.errors import RequestError
from chimera.schemas.model_observed import ModelObserved, decode_observed

log = structlog.get_logger(__name__)

PARTITION = 0  # the only one
READ_TIMEOUT_MS = 1_000
EMPTY_WAIT_MS = 20


class Told(NamedTuple):
    observed: ModelObserved
    at_ms: int  # when the broker appended it


class ObservedLog:
    """Of one reign."""

    def __init__(self, topic: str, consumer_arguments: Mapping[str, Any]) -> None:
        self._where = TopicPartition(topic, PARTITION)
        self._arguments = consumer_arguments

    @asynccontextmanager
    async def opened(self) -> "AsyncGenerator[ObservedLog]":
        """At its end, until it is told to read from elsewhere. Raises KafkaError."""
        self._consumer = AIOKafkaConsumer(**self._arguments, fetch_max_wait_ms=EMPTY_WAIT_MS)
        await self._consumer.start()
        try:
            self._consumer.assign([self._where])
            self._consumer.seek(self._where, await self._end())
            yield self
        finally:
            await self._consumer.stop()

    async def read_from(self, at_ms: int) -> None:
        """Go to what was appended at that time, back or on; records may come again by it."""
        end = await self._end()  # first: what comes while we ask is not passed over
        found = (await self._consumer.offsets_for_times({self._where: at_ms}))[self._where]
        self._consumer.seek(self._where, end if found is None else found.offset)

    async def unread(self) -> AsyncGenerator[Told]:
        """All up to the present end; what is no observation is passed over."""
        end = await self._end()
        while await self._consumer.position(self._where) < end:
            found = await self._consumer.getmany(self._where, timeout_ms=READ_TIMEOUT_MS)
            for record in found.get(self._where, ()):
                try:
                    observed = decode_observed(record.value or b"")
                except RequestError as error:
                    log.warning("observation_not_read", offset=record.offset, reason=str(error))
                    continue
                yield Told(observed, record.timestamp)

    async def _end(self) -> int:
        return int((await self._consumer.end_offsets([self._where]))[self._where])
