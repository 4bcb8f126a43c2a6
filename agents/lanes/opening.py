"""Where a lane may start: after the fence, from what is committed, unless something is not right.

    nothing committed, nothing decided    the log's start: a new group
    nothing committed, but some decided   halt: the group's offsets were lost
    committed below the log's start       halt: retention removed requests that nobody answered
    committed past the log's end          halt: the log was cut, or the topic made anew
    committed for another topic id        halt: the topic was made anew
    no such partition where it writes     halt, until there is one: `partners.py`

A lane of a retry topic commits where it starts, at once: it may wait for days for its first record, and
from then on, no offset is a lost one. So does a lane that answers before its offset is committed.
Between a group's first start and that moment records may come: few, and none decided. A halted lane
never guesses: `chimera offsets` shows what is known and sets the position by command.
`tests/integration/test_campaign_smoke.py` brings each about on a real broker.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from chimera.agents.lanes.attempts import Attempts
from chimera.agents.lanes.commit_loop import MADE_ANEW, Halted
from chimera.agents.lanes.committers import Committer
from chimera.agents.lanes.history import Bounds, History, bounds_of
from chimera.agents.lanes.partners import Partners
from chimera.topics.catalogue import Catalogue
from chimera.topics.producers import Committed, Fenced

FIRST_START_RECORDS = 50_000  # more than that is no first start, and takes a node too long to read


class Opening:
    """Opens one lane; called again after a fence."""

    def __init__(
        self,
        topic: str,
        partition: int,
        topic_id: str,
        topics: Catalogue,
        attempts: Attempts,
        partners: Partners,
        consumer_arguments: Mapping[str, Any],
    ) -> None:
        self._where = TopicPartition(topic, partition)
        self._topic_id = topic_id
        self._topics = topics
        self._attempts = attempts
        self._partners = partners
        self._consumer_arguments = consumer_arguments

    async def __call__(self, committer: Committer) -> tuple[int, dict[int, int]]:
        """Fence, then find the position and the deaths that were written down.

        Raises:
            Halted: one of the cases above.
        """
        await self._partners.require()
        committed = await committer.open()
        consumer = AIOKafkaConsumer(**self._consumer_arguments)
        await consumer.start()
        try:
            bounds = await bounds_of(consumer, self._where)
            if committed is not None:
                position = require_possible(committed, bounds, self._topic_id)
            else:
                history = History(consumer, self._topics, self._where)
                await self._require_none(history)
                position = bounds.start
                if history.is_retry or committer.answers_first:
                    with suppress(Fenced):  # whoever did it begins there, too
                        await committer.begin(position)
        finally:
            await consumer.stop()
        return position, await self._attempts.load(*self._where, position)

    async def _require_none(self, history: History) -> None:
        where = f"{self._where.topic}-{self._where.partition}"
        if history.is_retry and not await history.is_brief(FIRST_START_RECORDS):
            raise Halted(
                f"the group has no offset for {where}, where more is than at a first start"
            )
        last = (await history.decided()).last
        if last is not None:
            raise Halted(f"the group has no offset for {where}, but offset {last} is decided")


def require_possible(committed: Committed, bounds: Bounds, topic_id: str) -> int:
    """The position to continue from.

    Raises:
        Halted: what is committed does not fit the log.
    """
    offset = committed.offset
    if committed.topic_id and topic_id and committed.topic_id != topic_id:
        raise Halted(
            f"offset {offset} was committed for topic id {committed.topic_id}, the topic is now "
            f"{topic_id}: {MADE_ANEW}",
            committed,
        )
    if offset < bounds.start:
        raise Halted(
            f"requests {offset} to {bounds.start - 1} were removed by retention before they were "
            "answered",
            committed,
            missing=range(offset, bounds.start),
        )
    if offset > bounds.end:
        reason = f"offset {offset} is committed, but the log ends at {bounds.end}: it was cut"
        raise Halted(reason, committed)
    return offset
