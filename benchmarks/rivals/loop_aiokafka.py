"""A hand-written aiokafka loop: getmany, compute, send_batch. It promises nothing.

No offset is ever committed, no request is validated, no failure is handled. With two processes
each takes half of the partitions, without a group's rebalances.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.rivals.compute import Model
from benchmarks.rivals.options import Options, parse

MAX_RECORDS = 512


async def serve(options: Options) -> None:
    """Read, compute and write until the time limit."""
    model = Model(options.model)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=options.bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=1 << 20,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=options.bootstrap, linger_ms=5, max_batch_size=1 << 19
    )
    async with consumer, producer:
        consumer.assign([TopicPartition(options.requests, number) for number in options.mine])
        while True:
            records = await consumer.getmany(timeout_ms=200, max_records=MAX_RECORDS)
            everything: list[Any] = [record for run in records.values() for record in run]
            if not everything:
                continue
            outputs = iter(model.process([record.value for record in everything]))
            for partition, run in records.items():
                keyed: list[tuple[Any, bytes]] = [(one.key, next(outputs)) for one in run]
                await send(producer, options.results, partition.partition, keyed)


async def send(
    producer: AIOKafkaProducer, topic: str, partition: int, keyed: list[tuple[bytes, bytes]]
) -> None:
    """Write (key, value) pairs as few batches; returns when they are queued."""
    batch: Any = producer.create_batch()
    for key, value in keyed:
        if batch.append(key=key, value=value, timestamp=None) is None:  # full
            batch.close()
            await producer.send_batch(batch, topic, partition=partition)
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    batch.close()
    await producer.send_batch(batch, topic, partition=partition)


async def main() -> None:
    options = parse()
    async with asyncio.timeout(options.limit_s):
        await serve(options)


if __name__ == "__main__":
    uvloop.run(main())
