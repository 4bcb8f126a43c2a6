"""Publishes the demo's requests to the partitions of their keys, as any producer would.

Many at once as whole record batches, or one by one. `tests/cli/demoing/test_demo.py` runs it.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import AsyncGenerator, Awaitable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from chimera.cli.asking.results import Coordinates
from chimera.cli.demoing.requests import Request
from chimera.schemas.settings import Settings
from chimera.topics import clients

BATCH_BYTES = 131_072

Acknowledged = Awaitable[
    Any
]  # of aiokafka's metadata: where the broker put the record or the batch
Batch = tuple[int, BatchBuilder, list[Request]]


class Publisher:
    """On a producer that runs."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: Iterable[int]) -> None:
        self._producer = producer
        self._topic = topic
        self._partitions = sorted(partitions)
        self._choose = DefaultPartitioner()

    def prepare(self, requests: Iterable[Request]) -> list[Batch]:
        """Record batches of `BATCH_BYTES`, each for one partition, in order."""
        done: list[Batch] = []
        filling: dict[int, Batch] = {}
        for request in requests:
            partition = self._partition(request)
            batch = filling.get(partition)
            if batch is None or not _append(batch[1], request):
                batch = (partition, self._producer.create_batch(), [])
                _append(batch[1], request)
                filling[partition] = batch
                done.append(batch)
            batch[2].append(request)
        for _, builder, _ in done:
            builder.close()
        return done

    async def send(self, batches: Iterable[Batch]) -> dict[Coordinates, Request]:
        """Returns where the broker put each request, once all are acknowledged."""
        sent: list[tuple[Batch, Acknowledged]] = []
        for batch in batches:
            partition, builder, _ = batch
            future = await self._producer.send_batch(builder, self._topic, partition=partition)
            sent.append((batch, future))
        where: dict[Coordinates, Request] = {}
        for (partition, _, requests), acknowledged in sent:
            first = (await acknowledged).offset
            for number, request in enumerate(requests):
                where[Coordinates(self._topic, partition, first + number)] = request
        return where

    async def send_one(self, request: Request) -> Acknowledged:
        """The returned future is done when the broker has it."""
        sent: Acknowledged = await self._producer.send(
            self._topic,
            request.value,
            key=request.key,
            partition=self._partition(request),
            headers=request.headers,
        )
        return sent

    def _partition(self, request: Request) -> int:
        return int(self._choose(request.key, self._partitions, self._partitions))


def _append(builder: BatchBuilder, request: Request) -> bool:
    added = builder.append(
        timestamp=None, key=request.key, value=request.value, headers=request.headers
    )
    return added is not None


@asynccontextmanager
async def publishing(
    settings: Settings, bootstrap: str, topic: str
) -> AsyncGenerator[Publisher, None]:
    producer = AIOKafkaProducer(
        **clients.arguments(settings.kafka, bootstrap, "chimera-demo"),
        enable_idempotence=True,
        max_batch_size=BATCH_BYTES,
    )
    await producer.start()
    try:
        yield Publisher(producer, topic, await producer.partitions_for(topic))
    finally:
        await producer.stop()
