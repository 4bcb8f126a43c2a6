"""Records that are told beside the serving: an idempotent producer that never holds it up.

Whatever goes wrong is logged and told to the caller, who keeps the records or drops them; a producer
that has failed is never used again. `tests/agents/test_announcing.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer

log = structlog.get_logger(__name__)

WITHIN_S = 5.0  # all records of one call


class Publisher:
    """Of one topic; one task uses it."""

    def __init__(self, topic: str, client_arguments: Mapping[str, Any]) -> None:
        self._topic = topic
        self._client_arguments = client_arguments
        self._producer: AIOKafkaProducer | None = None

    async def publish(self, records: Sequence[tuple[bytes, bytes]]) -> bool:
        """Keys and values; whether all were acknowledged in time. False: some may have been."""
        try:
            async with asyncio.timeout(WITHIN_S):
                await self._publish(records)
        except Exception as error:  # noqa: BLE001  # the boundary: a node serves on, whatever is wrong here
            log.warning(
                "not_published", topic=self._topic, records=len(records), reason=repr(error)
            )
            await self.stop()
            return False
        return True

    async def stop(self) -> None:
        """What was not acknowledged by now may be lost."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(WITHIN_S):
                    await producer.stop()

    async def _publish(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        if self._producer is None:
            self._producer = AIOKafkaProducer(**self._client_arguments, enable_idempotence=True)
            await self._producer.start()
        sent = [
            await self._producer.send(self._topic, value, key=record_key)
            for record_key, value in records
        ]
        await asyncio.gather(*sent)
