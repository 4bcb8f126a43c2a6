"""Batches that become gigabytes when they are unpacked: what a real node makes of them."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (neither aiokafka nor cramjam says everything of its types)

import asyncio
from collections.abc import Iterator
from pathlib import Path

import cramjam
import psutil
import pytest
from aiokafka.client import AIOKafkaClient

from chimera.schemas import headers
from chimera.schemas.batches import Encoded, encode
from chimera.schemas.headers import varint
from chimera.topics.dead_letters import open_letter
from chimera.topics.producers import IdempotentProducer, Produced
from tests.integration.test_node import started_node
from tests.integration.test_transport import read, request

ZSTD = 4
PIECE = bytes(16 << 20)
GIB = 1 << 30
FEW, MANY = 4, 66  # records of a bomb: the node reads the first itself, an executor the second


def bomb(count: int, value_bytes: int) -> Encoded:
    """Records as the broker takes them, with values of zeros."""
    compressor = cramjam.zstd.Compressor()
    for number in range(count):
        before = b"\0\0" + varint(number) + headers.NULL + varint(value_bytes)
        compressor.compress(varint(len(before) + value_bytes + 1) + before)
        for _ in range(value_bytes // len(PIECE)):
            compressor.compress(PIECE)
        compressor.compress(b"\0")
    return Encoded(count, ZSTD, bytes(compressor.finish()))


def good(number: int) -> Encoded:
    return encode([b"key"], [headers.tail(request(number), 0, b"")])


async def send(bootstrap: str, topic: str, *batches: Encoded) -> None:
    """Each as a batch of its own, in this order."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=120_000)
    await client.bootstrap()
    await client.set_topics([topic])
    producer = IdempotentProducer(client, topic, call_timeout_s=120)
    await producer.open()
    for one in batches:
        await producer.produce([Produced(topic, 0, one)])
    await producer.close()
    await client.close()


def peaks(node: int) -> Iterator[int]:
    """The most memory that the node and each of its processes ever had, in bytes."""
    parent = psutil.Process(node)
    for process in (parent, *parent.children(recursive=True)):
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        yield int(peak) * 1024


@pytest.mark.timeout(300)
def test_bombs_are_answered_and_their_neighbours_too(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    requests = f"{prefix}inference.requests"
    batches = (good(0), bomb(FEW, GIB), good(5), bomb(MANY, 64 << 20), good(72))
    total = FEW + MANY + 3

    async def run() -> tuple[list[tuple[int, str]], list[tuple[int, bool]]]:
        await send(kafka, requests, *batches)
        results = await read(kafka, f"{prefix}inference.results", total)
        letters = await read(kafka, f"{requests}.dlq", total)
        codes = [dict(one.headers) for one in results]
        opened = [open_letter(one.headers) for one in letters]
        return [
            (int(one["chimera-request-offset"]), one["chimera-error-code"].decode())
            for one in codes
        ], [(origin.offset, is_whole) for _, origin, _, is_whole in opened]

    with started_node(kafka, prefix, tmp_path) as node:
        results, letters = asyncio.run(run())
        assert max(peaks(node.pid)) < GIB
    plain = (0, FEW + 1, total - 1)
    assert results == [(at, "unknown_model" if at in plain else "too_large") for at in range(total)]
    assert letters == [(at, at in plain) for at in range(total)]
