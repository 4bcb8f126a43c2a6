"""Partitions that a lane writes: it keeps its number in every paired topic, so each of them must have it.

Who adds partitions to the input topic alone leaves lanes that could answer nobody. Such a lane halts, and
opens by itself once they are there; its neighbours go on.
`tests/integration/test_added_partitions.py` adds some on a real broker.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import time
from collections.abc import Sequence

from aiokafka.client import AIOKafkaClient

from chimera.agents.lanes.commit_loop import Halted
from chimera.schemas.settings import Settings
from chimera.topics.catalogue import Catalogue
from chimera.topics.producers import Committed

ADVICE = "run `chimera topics sync --apply`, and the lane opens"
NOBODYS = Committed(-1)  # the group has another offset, always: the lane is soon opened again
SETTLE_S = (
    10.0  # a broker that has just started does not know all topics; longer only delays a halt
)
POLL_S = 0.2


class Partners:
    """Of one lane."""

    def __init__(self, client: AIOKafkaClient, names: Sequence[str], partition: int) -> None:
        """`client` is started and knows the topics of these names."""
        self._client, self._names, self._partition = client, names, partition
        self._within_s = SETTLE_S

    async def require(self) -> None:
        """
        Raises:
            Halted: a topic lacks the partition, and not only for a moment.
        """
        until_s = time.monotonic() + self._within_s
        while self._lacking() and await self._client.force_metadata_update():
            lacking = self._lacking()
            if lacking and time.monotonic() >= until_s:
                self._within_s = 0.0  # who is halted looks once, and can be revoked
                raise Halted(halts_for(lacking, self._partition), NOBODYS, advice=ADVICE)
            await asyncio.sleep(POLL_S if lacking else 0)

    def _lacking(self) -> list[str]:
        """As far as the client knows."""
        known = self._client.cluster.partitions_for_topic
        return [name for name in self._names if self._partition not in (known(name) or ())]


def needed(topics: Catalogue, settings: Settings) -> list[str]:
    """Topics that must have each partition of the inputs."""
    unused = () if settings.journal.enabled else (topics.journal,)
    return [topic.name for topic in topics.paired if topic not in unused]


def halts_for(lacking: Sequence[str], partition: int) -> str:
    """The reason of such a halt."""
    return f"there is no partition {partition} of {', '.join(lacking)}"
