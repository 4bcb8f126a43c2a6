"""Topics for one test."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (aiokafka ships no type information)

from aiokafka.admin import AIOKafkaAdminClient, NewTopic


async def new_topic(bootstrap: str, name: str, partitions: int = 1) -> str:
    """Create a topic and return its name."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])
    finally:
        await admin.close()
    return name
