"""The transport's corner cases, on a node and a real broker."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer import fetcher

from chimera.agents import foreign
from chimera.schemas import headers
from chimera.schemas.batches import Record, split
from chimera.topics.producers import IdempotentProducer, Produced
from tests.integration.topics import new_topic


def odd_tail(name: bytes) -> bytes:
    """A record's end with one header whose name is given as bytes."""
    encoded = headers.varint(len(name)) + name + headers.header("", b"text")[1:]
    return headers.tail(b"value", 1, encoded)


async def produce(bootstrap: str, topic: str, *records: Record) -> None:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    await client.set_topics([topic])
    producer = IdempotentProducer(client, topic, call_timeout_s=10)
    await producer.open()
    await producer.produce([Produced(topic, 0, batch) for batch in split(records, 100_000)])
    await producer.close()
    await client.close()


async def read(bootstrap: str, topic: str, count: int) -> list[Any]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        found: list[Any] = []
        async with asyncio.timeout(10):
            while len(found) < count:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += records
        return found
    finally:
        await consumer.stop()


def test_a_header_name_that_is_not_utf8_fails_aiokafka_alone(kafka: str, prefix: str) -> None:
    async def run() -> None:
        topic = await new_topic(kafka, f"{prefix}odd")
        await produce(kafka, topic, (b"a", odd_tail(b"\xff\xfe")))
        with pytest.raises((UnicodeDecodeError, TimeoutError)):
            await read(kafka, topic, 1)

    asyncio.run(run())


def test_a_header_name_that_is_not_utf8_is_read_with_escapes(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        topic = await new_topic(kafka, f"{prefix}odd")
        await produce(
            kafka,
            topic,
            (b"a", headers.tail(b"before", 0, b"")),
            (b"b", odd_tail(b"\xffname")),
            (b"c", headers.tail(None, 1, headers.header("fine", None))),
        )
        client = AIOKafkaClient(bootstrap_servers=kafka)
        await client.bootstrap()
        kept: list[Any] = []
        original = foreign.KeptPartition.__init__

        def keep(self: Any, *arguments: Any) -> None:
            original(self, *arguments)
            kept.append(self)

        monkeypatch.setattr(foreign.KeptPartition, "__init__", keep)
        foreign.install()
        with pytest.raises((UnicodeDecodeError, TimeoutError)):
            await read(kafka, topic, 3)
        records = list(kept[0].again(0))
        assert [(one.key, one.value) for one in records] == [
            (b"a", b"before"),
            (b"b", b"value"),
            (b"c", None),
        ]
        assert records[1].headers == (("\\xffname", b"text"),)
        assert records[2].headers == (("fine", None),)
        assert [one.offset for one in kept[0].again(1)] == [1, 2]
        await client.close()

    for name in ("MemoryRecords", "PartitionRecords"):
        monkeypatch.setattr(fetcher, name, getattr(fetcher, name))
    asyncio.run(run())
