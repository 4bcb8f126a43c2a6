"""Committers of a node's lanes, each by the guarantee that is set, and the offsets that wait for them.

At least once, offsets follow their acknowledged results: lanes note them, and the node commits all of
them now and then as a member of its group. `tests/integration/test_node_metrics.py` sees nodes commit
exactly once, `test_at_least_once.py` at least once.
"""

# pyright: reportMissingTypeStubs=false
# (aiokafka ships no type information)

from collections.abc import Awaitable, Callable, Mapping

from aiokafka.client import AIOKafkaClient
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from chimera.agents.lanes.committers import AtLeastOnce, Committer, ExactlyOnce, Partition
from chimera.agents.lanes.stages import Stages
from chimera.schemas.settings import Settings
from chimera.topics.producers import IdempotentProducer
from chimera.topics.transactions import TransactionalProducer

CommitOffsets = Callable[[Mapping[TP, OffsetAndMetadata]], Awaitable[None]]


class Committing:
    """Of one node."""

    def __init__(
        self,
        client: AIOKafkaClient,
        settings: Settings,
        stages: Stages,
        commit_offsets: CommitOffsets,
    ) -> None:
        self._client, self._settings, self._stages = client, settings, stages
        self._commit_offsets = commit_offsets
        self._noted: dict[Partition, int] = {}

    def new(self, where: Partition) -> Committer:
        """Of one input partition."""
        kafka = self._settings.kafka
        call_timeout_s = kafka.request_timeout_ms / 1000
        if self._settings.serving.guarantee == "at_least_once":
            producer = IdempotentProducer(self._client, kafka.group, call_timeout_s=call_timeout_s)
            return AtLeastOnce(producer, where, self._note, self.settle, step=self._stages.visit)
        return ExactlyOnce(
            TransactionalProducer(
                self._client,
                f"{kafka.group}-{where.topic}-{where.number}",
                kafka.group,
                transaction_timeout_ms=self._settings.commit.transaction_timeout_ms,
                call_timeout_s=call_timeout_s,
                step=self._stages.new(),
            ),
            where,
        )

    def _note(self, where: Partition, next_offset: int) -> None:
        self._noted[where] = next_offset

    async def settle(self) -> None:
        """Commit what was noted since the last time."""
        noted, self._noted = self._noted, {}
        if noted:
            await self._commit_offsets(
                {
                    TP(where.topic, where.number): OffsetAndMetadata(offset, where.topic_id)
                    for where, offset in noted.items()
                }
            )
