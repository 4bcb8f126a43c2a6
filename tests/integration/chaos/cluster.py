"""The broker side of a campaign: topics and a group of its own, and tampering with them.

The topics come from the product's own catalogue, since a node refuses others; whatever is done to
them is done with confluent-kafka. The broker itself belongs to the caller.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (confluent-kafka leaves its futures' results open)

import asyncio
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from chimera.schemas.server_settings import KafkaSettings
from chimera.schemas.serving_settings import ServingSettings
from chimera.schemas.settings import Settings
from chimera.topics import admin
from chimera.topics.catalogue import Catalogue, catalogue
from tests.integration.chaos.offsets import CALL_S, Offsets
from tests.waiting import wait

RETRY_DELAYS_MS = (500, 1_000, 2_000)


class Cluster:
    """One group and its topics on one broker."""

    def __init__(self, bootstrap: str, prefix: str, *, partitions: int, max_bytes: int) -> None:
        self.bootstrap = bootstrap
        self.group = f"{prefix}group"
        self.settings = Settings(
            kafka=KafkaSettings(
                bootstrap=bootstrap, group=self.group, topic_prefix=prefix, partitions=partitions
            ),
            serving=ServingSettings(
                max_request_bytes=max_bytes,
                max_result_bytes=max_bytes,
                retry_delays_ms=RETRY_DELAYS_MS,
            ),
        )
        self.catalogue: Catalogue = catalogue(self.settings)
        self.offsets = Offsets(bootstrap, self.group)
        self._admin = AdminClient({"bootstrap.servers": bootstrap})

    @property
    def requests(self) -> str:
        return self.catalogue.requests.name

    def create(self) -> None:
        """Create the topics that are not there."""

        async def sync() -> None:
            async with admin.connected(self.settings.kafka) as client:
                planned = await admin.plan(client, self.catalogue)
                left = await admin.apply(client, self.catalogue, planned)
                if left:
                    raise AssertionError(f"topics differ: {left}")

        asyncio.run(sync())

    def environment(self) -> dict[str, str]:
        """What a node needs to serve this cluster."""
        kafka, serving = self.settings.kafka, self.settings.serving
        return {
            "CHIMERA_KAFKA__BOOTSTRAP": self.bootstrap,
            "CHIMERA_KAFKA__GROUP": self.group,
            "CHIMERA_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
            "CHIMERA_KAFKA__PARTITIONS": str(kafka.partitions),
            "CHIMERA_SERVING__MAX_REQUEST_BYTES": str(serving.max_request_bytes),
            "CHIMERA_SERVING__MAX_RESULT_BYTES": str(serving.max_result_bytes),
            "CHIMERA_SERVING__RETRY_DELAYS_MS": str(list(serving.retry_delays_ms)),
            "CHIMERA_OBSERVABILITY__LOG_FORMAT": "json",
        }

    def unfinished(self) -> dict[str, dict[int, int]]:
        """By topic and partition: requests without a committed offset, outcomes not committed."""
        written = (self.catalogue.results.name, self.catalogue.dead_letters.name)
        found = {topic.name: self.offsets.behind(topic.name) for topic in self.catalogue.inputs}
        found |= {topic: self.offsets.unstable(topic) for topic in written}
        return {topic: left for topic, left in found.items() if left}

    def members(self) -> int:
        """How many nodes the group has now."""
        found: Any = self._admin.describe_consumer_groups([self.group])[self.group].result(CALL_S)
        return len(found.members)

    # Tampering.

    def add_partitions(self, count: int) -> None:
        """To all topics in which a request keeps its partition number."""
        asked = [NewPartitions(topic.name, count) for topic in self.catalogue.paired]
        for future in self._admin.create_partitions(asked).values():
            future.result(CALL_S)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """As retention would."""
        asked = [TopicPartition(topic, partition, before)]
        for future in self._admin.delete_records(asked).values():
            future.result(CALL_S)

    def delete_group(self) -> None:
        """Lose every offset; the group must be empty."""
        self._admin.delete_consumer_groups([self.group])[self.group].result(CALL_S)

    def set_offset(self, topic: str, partition: int, offset: int) -> None:
        """As an operator's tool would; the group must be empty."""
        where = TopicPartition(topic, partition, offset)
        asked = [ConsumerGroupTopicPartitions(self.group, [where])]
        self._admin.alter_consumer_group_offsets(asked)[self.group].result(CALL_S)

    def delete_topic(self, topic: str) -> None:
        """The broker does not show it any more when this returns, so `create` makes it anew."""
        self._admin.delete_topics([topic])[topic].result(CALL_S)
        if not wait(lambda: topic not in self._admin.list_topics(timeout=CALL_S).topics, CALL_S):
            raise TimeoutError(f"the broker still shows {topic}")
