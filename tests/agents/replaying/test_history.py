"""A partition's past read in pieces from a real Kafka: by times, whole batches, foreign headers, a cut."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
from pathlib import Path

import pytest
from aiokafka.client import AIOKafkaClient

from chimera.agents.replaying import history as past_of
from chimera.agents.replaying.history import History, Span, opened
from chimera.schemas import headers
from chimera.schemas.batches import encode
from chimera.schemas.errors import KafkaUnavailable
from chimera.schemas.stored import Stored
from chimera.topics.producers import IdempotentProducer, Produced
from tests.agents.replaying.past import LATER_MS, Past, past


async def read(history: History, span: Span) -> list[Stored]:
    reader, found = history.reader(span), list[Stored]()
    while not reader.is_at_end:
        found += await reader.read()
    return found


async def spans(at: Past, history: History, since_ms: int = 0, until_ms: int | None = None) -> Span:
    (span,) = await history.spans(at.topics.requests.name, since_ms, until_ms)
    return span


def test_span_is_what_was_appended_between_two_moments(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with past(kafka, prefix, tmp_path) as at, at.history() as history:
            first = await at.ask([b"a"] * 3)
            middle = await at.ask([b"b"] * 4)
            await at.ask([b"c"] * 5)
            whole = await spans(at, history)
            assert (whole.start, whole.stop, whole.is_cut) == (0, 12, False)
            times = {one.offset: one.timestamp for one in await read(history, whole)}
            since_ms, until_ms = times[middle[0]], times[middle[-1]] + 1
            found = await spans(at, history, since_ms, until_ms)
            values = [one.value for one in await read(history, found)]
            assert b"b" in values
            assert len(found) == sum(since_ms <= at_ms < until_ms for at_ms in times.values())
            nothing = await spans(at, history, LATER_MS)
            assert (len(nothing), await read(history, nothing)) == (0, [])
            assert len(await spans(at, history, 0, times[first[0]])) == 0

    asyncio.run(run())


def test_records_of_any_producer_are_read_in_pieces(
    kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some are larger than a fetch; one has a header whose name is no UTF-8."""
    monkeypatch.setattr(past_of, "FETCH_BYTES", 20_000)
    monkeypatch.setattr(past_of, "PIECE_RECORDS", 7)

    async def run() -> None:
        async with past(kafka, prefix, tmp_path) as at:
            odd = headers.varint(2) + b"\xff\xfe" + headers.varint(1) + b"x"
            tails = [headers.tail(b"odd", 1, odd)] * 3
            await _produce(at, tails)
            await at.ask([b"%d" % number for number in range(100)], compression="zstd")
            await at.ask([b"large" * 10_000] * 3)
            async with at.history() as history:
                found = await read(history, await spans(at, history))
            values = [one.value for one in found]
            expected = [b"odd"] * 3 + [b"%d" % number for number in range(100)]
            assert values == [*expected, *[b"large" * 10_000] * 3]
            assert [one.offset for one in found] == list(range(106))

    asyncio.run(run())


async def _produce(at: Past, tails: list[bytes]) -> None:
    topic = at.topics.requests.name
    client = AIOKafkaClient(bootstrap_servers=at.bootstrap)
    await client.bootstrap()
    await client.set_topics([topic])
    producer = IdempotentProducer(client, topic, call_timeout_s=10)
    await producer.open()
    await producer.produce([Produced(topic, 0, encode([None] * len(tails), tails))])
    await producer.close()
    await client.close()


def test_reading_goes_on_behind_what_was_removed_meanwhile(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with past(kafka, prefix, tmp_path) as at, at.history() as history:
            await at.ask([b"%d" % number for number in range(50)])
            reader = history.reader(await spans(at, history))
            await at.forget(at.topics.requests.name, 30)
            found: list[Stored] = []
            while not reader.is_at_end:
                found += await reader.read()
            assert ([one.offset for one in found], reader.is_cut) == (list(range(30, 50)), True)
            assert (await spans(at, history)).is_cut

    asyncio.run(run())


def test_topic_that_is_missing_is_named(kafka: str, prefix: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with past(kafka, prefix, tmp_path) as at:
            with pytest.raises(KafkaUnavailable, match=f"there is no topic {prefix}nothing"):
                async with opened(at.settings, kafka, [f"{prefix}nothing"]):
                    pass

    asyncio.run(run())
