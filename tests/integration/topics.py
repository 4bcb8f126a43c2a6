"""Topics for one test."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (aiokafka ships no type information)

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from chimera.topics.catalogue import Topic


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
