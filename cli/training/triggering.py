"""A trigger and its answer: publish, and wait for the event that bears its id.

The answer is looked for on `training.events` from before the trigger was sent. Who gives it is a training
agent (`chimera trainer`); without one the trigger waits. `tests/cli/test_train_agent.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
from collections.abc import AsyncGenerator

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from chimera.cli.asking import results
from chimera.schemas.errors import KafkaUnavailable, RequestError
from chimera.schemas.settings import Settings
from chimera.schemas.training_events import Event, TriggerAnswered, decode_event
from chimera.schemas.training_triggers import Trigger, encode_trigger
from chimera.topics import clients
from chimera.topics.catalogue import catalogue

POLL_MS = 200


async def give(
    settings: Settings, bootstrap: str, trigger: Trigger, timeout_s: float
) -> TriggerAnswered | None:
    """Publish it and wait; None: no answer in time, though it may still be done.

    Raises:
        KafkaUnavailable: no broker, no topics, or the broker does not take the trigger.
    """
    topics = catalogue(settings)
    needed = [topics.training_events.name]
    async with results.reading(settings.kafka, bootstrap, needed, start="end") as consumer:
        await _publish(settings, bootstrap, trigger)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    for event in await _events(consumer):
                        if not isinstance(event, TriggerAnswered):
                            continue
                        if event.trigger_id == trigger.trigger_id:
                            return event
        except TimeoutError:
            return None


async def events(
    settings: Settings, bootstrap: str, run_id: str
) -> AsyncGenerator[tuple[list[Event], bool]]:
    """Of one run from its first, some at a time, and whether they are all that there are by now.

    It does not end by itself. Raises KafkaUnavailable.
    """
    needed = [catalogue(settings).training_events.name]
    async with results.reading(settings.kafka, bootstrap, needed, start="beginning") as consumer:
        while True:
            found = await _events(consumer)
            own = [one for one in found if getattr(one, "run_id", None) == run_id]
            yield own, await results.is_at_end(consumer)


async def _events(consumer: AIOKafkaConsumer) -> list[Event]:
    found: list[Event] = []
    for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
        for record in records:
            try:
                found.append(decode_event(record.value or b""))
            except RequestError:
                continue
    return found


async def _publish(settings: Settings, bootstrap: str, trigger: Trigger) -> None:
    topic = catalogue(settings).training_triggers.name
    producer = AIOKafkaProducer(
        **clients.arguments(settings.kafka, bootstrap, "chimera-trigger"), enable_idempotence=True
    )
    try:
        await producer.start()
        await producer.send_and_wait(
            topic, encode_trigger(trigger), key=trigger.trigger_id.encode()
        )
    except KafkaError as error:
        raise KafkaUnavailable(f"{topic}: the trigger was not taken: {error}") from error
    finally:
        await producer.stop()
