"""What a node reads that other clients do not, on a real broker."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.client import AIOKafkaClient

from chimera.schemas import headers
from chimera.schemas.batches import encode
from chimera.topics.producers import IdempotentProducer, Produced
from tests.integration.test_node import started_node
from tests.integration.topics import new_topic


def odd_tail(name: bytes, value: bytes) -> bytes:
    """A record's end with one header whose name is given as bytes."""
    encoded = headers.varint(len(name)) + name + headers.header("", b"text")[1:]
    return headers.tail(value, 1, encoded)


async def produce(bootstrap: str, topic: str, *records: tuple[bytes | None, bytes]) -> None:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    await client.set_topics([topic])
    producer = IdempotentProducer(client, topic, call_timeout_s=10)
    await producer.open()
    keys, tails = zip(*records, strict=True)
    await producer.produce([Produced(topic, 0, encode(keys, tails))])
    await producer.close()
    await client.close()


async def read(bootstrap: str, topic: str, count: int) -> list[ConsumerRecord[bytes, bytes]]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        found: list[ConsumerRecord[bytes, bytes]] = []
        async with asyncio.timeout(30):
            while len(found) < count:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += records
        return found
    finally:
        await consumer.stop()


def request(number: int) -> bytes:
    tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [number]}
    return orjson.dumps({"id": f"r{number}", "model_name": "none", "inputs": [tensor]})


def test_a_header_name_that_is_not_utf8_fails_aiokafka_alone(kafka: str, prefix: str) -> None:
    async def run() -> None:
        topic = await new_topic(kafka, f"{prefix}odd")
        await produce(kafka, topic, (b"a", odd_tail(b"\xff\xfe", b"value")))
        with pytest.raises(UnicodeDecodeError):
            await read(kafka, topic, 1)

    asyncio.run(run())


def test_node_answers_requests_whose_header_names_are_not_utf8(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    async def run() -> list[str]:
        await produce(
            kafka,
            f"{prefix}inference.requests",
            (b"a", headers.tail(request(1), 0, b"")),
            (b"b", odd_tail(b"\xff\xfename", request(2))),
            (b"c", headers.tail(request(3), 0, b"")),
        )
        found = await read(kafka, f"{prefix}inference.results", 3)
        return [orjson.loads(one.value or b"")["id"] for one in found]

    with started_node(kafka, prefix, tmp_path):
        assert asyncio.run(run()) == ["r1", "r2", "r3"]


def test_node_answers_a_block_of_requests_that_no_model_serves(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    """They go out unread, and come back one by one, with an error each."""

    async def run() -> list[tuple[bytes, str]]:
        records = [
            (b"k%d" % number, headers.tail(request(number), 0, b"")) for number in range(200)
        ]
        await produce(kafka, f"{prefix}inference.requests", *records)
        found = await read(kafka, f"{prefix}inference.results", 200)
        return [(one.key or b"", orjson.loads(one.value or b"")["id"]) for one in found]

    with started_node(kafka, prefix, tmp_path):
        expected = [(b"k%d" % number, f"r{number}") for number in range(200)]
        assert asyncio.run(run()) == expected
