"""`audit.events`, written: what was done to what serves, until the sequencer makes leaves of it.

An event is taken when every replica that is in sync has it. Who tries again after a failure may write
it twice: both have the same `event_id`. `tests/integration/test_audit_events.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from chimera.schemas.errors import ConfigurationError, KafkaUnavailable
from chimera.schemas.settings import Settings
from chimera.topics import admin, clients
from chimera.topics.catalogue import Topic

CLIENT = "chimera-audit-events"


@asynccontextmanager
async def producing(
    settings: Settings, bootstrap: str, topics: Iterable[Topic]
) -> AsyncGenerator[AIOKafkaProducer]:
    """An idempotent producer, once the topics are there.

    Raises:
        KafkaUnavailable: no broker, or it does not take a record; also from within the block.
        ConfigurationError: a topic is missing.
    """
    names = [topic.name for topic in topics]
    async with admin.connected(settings.kafka, bootstrap, CLIENT) as client:
        if missing := sorted(set(names) - set(await admin.topic_ids(client, names))):
            raise ConfigurationError(f"no topic {missing[0]}: `chimera topics sync --apply`")
    producer = AIOKafkaProducer(
        **clients.arguments(settings.kafka, bootstrap, CLIENT), enable_idempotence=True
    )
    try:
        await producer.start()
        yield producer
    except KafkaError as error:
        raise KafkaUnavailable(f"{names[0]}: not taken: {str(error) or repr(error)}") from error
    finally:
        await producer.stop()
