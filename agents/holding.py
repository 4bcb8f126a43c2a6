"""The right to write a table: one warehouse at a time has it, by a transactional id that never changes.

    held ── whoever had it is fenced ── require ── still ours? ── require ── ... ── Fenced

No transaction is ever begun: Kafka only tells, at any moment, who asked last. A sink asks after it
wrote down what it will insert, and before it does; so whoever takes over later has read that.
`tests/integration/test_two_warehouses.py` has two of them on one server.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (aiokafka ships no type information)

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiokafka.client import AIOKafkaClient

from chimera.schemas.server_settings import KafkaSettings
from chimera.topics.transactions import TransactionalProducer

TIMEOUT_MS = 60_000  # of a transaction; the broker wants to know, though there is none


class Holding:
    """From `held`; its loop runs elsewhere than who asks."""

    def __init__(self, producer: TransactionalProducer) -> None:
        self._producer = producer
        self._loop = asyncio.get_running_loop()

    def require(self) -> None:
        """From a thread; returns while nobody else took the right.

        Raises:
            ProducerError: somebody did (Fenced), or no broker says so in time.
        """
        asyncio.run_coroutine_threadsafe(self._producer.renew(), self._loop).result()


@asynccontextmanager
async def held(client: AIOKafkaClient, kafka: KafkaSettings, topic: str) -> AsyncGenerator[Holding]:
    """Of the table that is filled from `topic`, taken from whoever had it. Raises ProducerError."""
    producer = TransactionalProducer(
        client,
        f"{kafka.group}-{topic}-warehouse",
        f"{kafka.group}.warehouse",
        transaction_timeout_ms=TIMEOUT_MS,
        call_timeout_s=kafka.request_timeout_ms / 1000,
    )
    try:
        await producer.open()
        yield Holding(producer)
    finally:
        await producer.close()
