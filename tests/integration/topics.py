"""Topics for one test, and what a sink finds there."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (aiokafka ships no type information)

from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from confluent_kafka import Producer

from chimera.stores.source import Record
from chimera.topics.catalogue import Topic
from tests.stores.sink_records import record


async def new_topic(bootstrap: str, name: str, partitions: int = 1) -> str:
    """Create a topic and return its name."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])
    finally:
        await admin.close()
    return name


def topic_of(name: str) -> Topic:
    """As the catalogue would have it."""
    return Topic(
        name=name, key="", record="", partitions=1, replication=1, max_message_bytes=1 << 20
    )


def produce(kafka: str, topic: str, numbers: range) -> None:
    """Segments of a journal."""
    produce_values(kafka, topic, (record(0, number).value for number in numbers))


def produce_records(kafka: str, topic: str, records: Iterable[Record]) -> None:
    """Values and headers, to the first partition; the broker says when and where."""
    producer = Producer({"bootstrap.servers": kafka})
    for one in records:
        producer.produce(topic, one.value, partition=0, headers=list(one.headers))
    producer.flush(30)


def produce_values(kafka: str, topic: str, values: Iterable[bytes]) -> None:
    """To the first partition."""
    producer = Producer({"bootstrap.servers": kafka})
    for value in values:
        producer.produce(topic, value, partition=0)
    producer.flush(30)
