"""One command for a model and its answer: publish, and wait for the event that bears its id.

The answer is looked for on `models.events` from before the command was sent. Who does it is a
controller; without one the command waits in `models.commands`, and is done when there is one: nobody
waits for it here longer than a node needs to start. `tests/cli/test_model_commands.py` asks a real one.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
from collections.abc import Callable, Coroutine

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from chimera.cli.asking import results
from chimera.cli.postgres.address import find_postgres
from chimera.schemas.errors import (
    ConfigurationError,
    KafkaUnavailable,
    PostgresUnavailable,
    RequestError,
)
from chimera.schemas.model_commands import Command, decode_command, encode_command
from chimera.schemas.model_events import CommandAnswered, Event, decode_event
from chimera.schemas.model_names import key
from chimera.schemas.settings import Settings
from chimera.stores.postgres import Database
from chimera.stores.registry import leadership
from chimera.topics import clients
from chimera.topics.catalogue import catalogue

POLL_MS = 200
LED_WITHIN_S = 15.0
NOBODY_LEADS = (
    "no controller leads; one does beside each node that follows the registry: start a node with "
    "CHIMERA_SERVING__FOLLOW=true"
)


def _pay_no_heed(_: Event) -> None:
    return


async def give(
    settings: Settings,
    bootstrap: str,
    command: Command,
    timeout_s: float,
    hear: Callable[[Event], None] = _pay_no_heed,
) -> CommandAnswered | None:
    """Publish it and wait; None: no answer in time, or nobody leads. It may still be done.

    `hear` gets every event of the command, the answer last.

    Raises:
        SchemaInvalid: a name, a weight or a reason that no controller would read.
        KafkaUnavailable: no broker, no topics, or the broker does not take the command.
    """
    value = encode_command(command)
    decode_command(value)
    topics = catalogue(settings)
    needed = [topics.model_events.name, topics.model_commands.name]
    async with results.reading(settings.kafka, bootstrap, needed, start="end") as consumer:
        await _publish(settings, bootstrap, command, value)
        try:
            async with asyncio.timeout(timeout_s):
                answering = _answer(consumer, topics.model_events.name, command, hear)
                return await _unless_nobody_leads(answering, settings)
        except TimeoutError:
            return None


async def unanswered(settings: Settings, command_id: str) -> str:
    """Why there was no answer, as far as one can tell from here."""
    told = f"no answer to {command_id}; it is done when a controller runs"
    return told if await _may_be_led(settings) else f"{told}: {NOBODY_LEADS}"


async def _unless_nobody_leads(
    answering: Coroutine[None, None, CommandAnswered], settings: Settings
) -> CommandAnswered | None:
    answer = asyncio.create_task(answering)
    try:
        await asyncio.wait((answer,), timeout=LED_WITHIN_S)
        return await answer if answer.done() or await _may_be_led(settings) else None
    finally:
        answer.cancel()


async def _may_be_led(settings: Settings) -> bool:
    """Where the registry cannot be asked from here, somebody may."""
    try:
        async with Database(find_postgres(settings.postgres), settings.postgres) as database:
            return await leadership.is_led(database)
    except (ConfigurationError, PostgresUnavailable):
        return True


async def _publish(settings: Settings, bootstrap: str, command: Command, value: bytes) -> None:
    topic = catalogue(settings).model_commands.name
    producer = AIOKafkaProducer(
        **clients.arguments(settings.kafka, bootstrap, "chimera-command"), enable_idempotence=True
    )
    try:
        await producer.start()
        await producer.send_and_wait(topic, value, key=key(command.tenant, command.model))
    except KafkaError as error:
        raise KafkaUnavailable(f"{topic}: the command was not taken: {error}") from error
    finally:
        await producer.stop()


async def _answer(
    consumer: AIOKafkaConsumer, events: str, command: Command, hear: Callable[[Event], None]
) -> CommandAnswered:
    while True:
        for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
            for record in records:
                if record.topic != events or record.value is None:
                    continue
                try:
                    event = decode_event(record.value)
                except RequestError:
                    continue
                if (event.tenant, event.command_id) != (command.tenant, command.command_id):
                    continue
                hear(event)
                if isinstance(event, CommandAnswered):
                    return event
