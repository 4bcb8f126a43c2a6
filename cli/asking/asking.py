"""One request and its answer: publish, and wait for the result that names the same record.

For `chimera infer` and for the probe of `chimera doctor`. The answer is looked for in the partition
of the results that has the request's number, from before the request was sent.
`tests/cli/test_infer.py` asks a real node.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import time
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from chimera.cli.asking import results
from chimera.cli.asking.question import Question
from chimera.cli.asking.results import Coordinates
from chimera.schemas import headers as names
from chimera.schemas.batches import ENVELOPE_BYTES
from chimera.schemas.errors import ConfigurationError, KafkaUnavailable
from chimera.schemas.settings import Settings
from chimera.topics import clients
from chimera.topics.catalogue import catalogue

POLL_MS = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """A result record, as it is on the wire."""

    request: Coordinates
    value: bytes
    code: str | None  # None: a response
    head: int  # bytes of the JSON before raw tensors; -1: all of it is JSON
    took_s: float


async def ask(
    settings: Settings, bootstrap: str, question: Question, timeout_s: float
) -> Answer | None:
    """Publish and wait; None when nothing has answered in time: then nothing need be computed.

    Raises:
        KafkaUnavailable: no broker, no topics, or the broker does not take the request.
        ConfigurationError: the request is larger than the topic takes.
    """
    topics = catalogue(settings)
    async with results.reading(
        settings.kafka, bootstrap, [topics.results.name], start="end"
    ) as consumer:
        started_s = time.monotonic()
        where = await _publish(settings, bootstrap, topics.requests.name, question, timeout_s)
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + timeout_s):
                return await _answer(consumer, where, started_s)
        except TimeoutError:
            return None


async def _publish(
    settings: Settings, bootstrap: str, topic: str, question: Question, timeout_s: float
) -> Coordinates:
    deadline = b"%d" % int((time.time() + timeout_s) * 1000)
    headers = [*question.headers, (names.DEADLINE, deadline)]
    producer = AIOKafkaProducer(
        **clients.arguments(settings.kafka, bootstrap, "chimera-ask"),
        enable_idempotence=True,
        max_request_size=settings.serving.max_request_bytes + ENVELOPE_BYTES,
    )
    await producer.start()
    try:
        sent = await producer.send_and_wait(
            topic, question.value, key=question.key, headers=headers
        )
    except MessageSizeTooLargeError:
        size, limit = len(question.value), settings.serving.max_request_bytes
        raise ConfigurationError(f"the request has {size} bytes, the limit is {limit}") from None
    except KafkaError as error:
        raise KafkaUnavailable(f"{topic}: the request was not taken: {error}") from error
    finally:
        await producer.stop()
    return Coordinates(sent.topic, sent.partition, sent.offset)


async def _answer(consumer: AIOKafkaConsumer, where: Coordinates, started_s: float) -> Answer:
    while True:
        for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
            for record in records:
                found = results.story(record)
                if found.request == where:
                    took_s = time.monotonic() - started_s
                    return Answer(where, record.value or b"", found.code, found.head, took_s)
