"""Dead letters for tests: written as lanes write them, requests and events read back."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from chimera.schemas.control_actions import SETTINGS_CHANGED
from chimera.schemas.settings import Settings
from chimera.schemas.transparency.leaves import ActionTaken, decode_leaf
from chimera.topics import clients
from chimera.topics.catalogue import Catalogue, Topic, catalogue
from chimera.topics.dead_letters import Copy, Failure, Origin, dead_letter


def settings_of(bootstrap: str, prefix: str) -> Settings:
    kafka = {"bootstrap": bootstrap, "topic_prefix": prefix, "group": prefix, "partitions": 2}
    return Settings.model_validate({"kafka": kafka})


def letter(
    topics: Catalogue,
    number: int,
    code: str = "model_error",
    headers: Iterable[tuple[str, bytes | None]] = (),
) -> Copy:
    """Of the request with this number, which stood in partition `number` mod 2."""
    origin = Origin(topics.requests.name, number % 2, number, 1_763_717_416_000)
    pairs: list[tuple[str, bytes | None]] = [("n", b"%d" % number), *headers]
    original = Copy(b"k%d" % (number % 3), b'{"n": %d}' % number, pairs)
    failure = Failure(code, "it raised", 1, 1_763_717_416_000)
    return dead_letter(original, origin, failure, topics.dead_letters.max_message_bytes)


def write(settings: Settings, letters: Iterable[Copy]) -> None:
    topics = catalogue(settings)

    async def writing() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap or "")
        await producer.start()
        try:
            for one in letters:
                number = int(dict(one.headers)["chimera-orig-partition"] or 0)
                await producer.send(
                    topics.dead_letters.name,
                    one.value,
                    key=one.key,
                    partition=number,
                    headers=one.headers,
                )
        finally:
            await producer.stop()

    asyncio.run(writing())


def read(settings: Settings, topic: Topic) -> list[Any]:
    """Every record, once all of them are decided: brokers tell of a commit before it is visible."""

    async def reading() -> list[Any]:
        arguments = clients.consumer_arguments(settings.kafka)
        consumer = AIOKafkaConsumer(
            topic.name, **arguments, auto_offset_reset="earliest", fetch_max_wait_ms=20
        )
        await consumer.start()
        try:
            ends = await _written(arguments, topic.name)
            found: list[Any] = []
            while any([await consumer.position(part) < end for part, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    return asyncio.run(reading())


async def _written(arguments: Any, topic: str) -> Any:
    """Where each partition ends, with what is not decided."""
    consumer = AIOKafkaConsumer(topic, **{**arguments, "isolation_level": "read_uncommitted"})
    await consumer.start()
    try:
        return await consumer.end_offsets(consumer.assignment())
    finally:
        await consumer.stop()


def starts(bootstrap: str, prefix: str) -> list[str]:
    """Roles of the processes that told of new settings."""
    found = actions(settings_of(bootstrap, prefix))
    return [one.object.split("@")[0] for one in found if one.action == SETTINGS_CHANGED]


def actions(settings: Settings) -> list[ActionTaken]:
    """Of `audit.events`, in no order."""
    found = [decode_leaf(one.value) for one in read(settings, catalogue(settings).audit_events)]
    return [one for one in found if isinstance(one, ActionTaken)]
