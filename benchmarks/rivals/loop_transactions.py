"""A hand-written aiokafka loop with one transaction per partition, as fast as it commits.

aiokafka's sleeps between transactions are cut (`cut=1`), as anybody after latency would. Shapes:
`joint` (the faster one, on two cores): one getmany over all partitions, then all their transactions
at once; `lanes`: a task per partition, so partitions wait for nothing but their own commit.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.producer import sender

from benchmarks.rivals.compute import Model
from benchmarks.rivals.loop_aiokafka import MAX_RECORDS, send
from benchmarks.rivals.options import Options, parse


class Loop:
    """A consumer, a model, and a transactional producer for each partition."""

    def __init__(self, options: Options, consumer: AIOKafkaConsumer) -> None:
        self._options = options
        self._consumer = consumer
        self._model = Model(options.model)
        self._producers: dict[TopicPartition, AIOKafkaProducer] = {}

    async def open(self, stack: AsyncExitStack) -> None:
        retry_ms = 2 if _cut(self._options) else 100
        for number in self._options.mine:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._options.bootstrap,
                linger_ms=0,  # a commit flushes anyway
                max_batch_size=1 << 19,
                retry_backoff_ms=retry_ms,
                transactional_id=f"{self._options.group}-{number}",
                transaction_timeout_ms=15_000,
            )
            await stack.enter_async_context(producer)
            self._producers[TopicPartition(self._options.requests, number)] = producer

    async def joint(self) -> None:
        while True:
            records = await self._consumer.getmany(timeout_ms=200, max_records=MAX_RECORDS)
            everything: list[Any] = [record for run in records.values() for record in run]
            if not everything:
                continue
            outputs = iter(self._model.process([record.value for record in everything]))
            async with asyncio.TaskGroup() as group:
                for partition, run in records.items():
                    keyed: list[tuple[Any, bytes]] = [(one.key, next(outputs)) for one in run]
                    group.create_task(self._commit(partition, keyed, run[-1].offset + 1))

    async def lanes(self) -> None:
        async with asyncio.TaskGroup() as group:
            for partition in self._producers:
                group.create_task(self._lane(partition))

    async def _lane(self, partition: TopicPartition) -> None:
        while True:
            found = await self._consumer.getmany(partition, timeout_ms=200, max_records=MAX_RECORDS)
            run: list[Any] = found.get(partition, [])
            if run:
                outputs = self._model.process([record.value for record in run])
                keyed = [(one.key, output) for one, output in zip(run, outputs, strict=True)]
                await self._commit(partition, keyed, run[-1].offset + 1)

    async def _commit(
        self, partition: TopicPartition, keyed: list[tuple[bytes, bytes]], offset: int
    ) -> None:
        producer = self._producers[partition]
        await producer.begin_transaction()
        await send(producer, self._options.results, partition.partition, keyed)
        await producer.send_offsets_to_transaction({partition: offset}, self._options.group)
        await producer.commit_transaction()


async def serve(options: Options) -> None:
    """Read, compute and commit until the time limit."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=options.bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_partition_fetch_bytes=1 << 20,
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(consumer)
        consumer.assign([TopicPartition(options.requests, number) for number in options.mine])
        loop = Loop(options, consumer)
        await loop.open(stack)
        await (loop.joint() if options.rest.get("shape") != "lanes" else loop.lanes())


def _cut(options: Options) -> bool:
    return options.rest.get("cut", "1") == "1"


async def main() -> None:
    options = parse()
    if _cut(options):
        sender.BACKOFF_OVERRIDE = 0.001
    async with asyncio.timeout(options.limit_s):
        await serve(options)


if __name__ == "__main__":
    uvloop.run(main())
