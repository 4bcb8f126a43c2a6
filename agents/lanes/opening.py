"""Where a lane may start: after the fence, from what is committed, unless something is not right.

    nothing committed, nothing answered   the log's start: a new group
    nothing committed, but answers exist  halt: the group's offsets were lost
    committed below the log's start       halt: retention removed requests that nobody answered
    committed past the log's end          halt: the log was cut, or the topic made anew
    committed for another topic id        halt: the topic was made anew

A halted lane never guesses: `chimera offsets` shows what is known and sets the position by command.
`tests/integration/test_campaign_smoke.py` brings each about on a real broker.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from chimera.agents.lanes.attempts import Attempts
from chimera.agents.lanes.commit_loop import ADVICE, Halted
from chimera.agents.lanes.committers import Committer
from chimera.schemas import headers as names
from chimera.topics.producers import Committed

LAST_RESULTS = 500  # read back to find the last answered request
READ_TIMEOUT_MS = 1_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """A partition's readable offsets: `start` <= offset < `end`."""

    start: int
    end: int


class Opening:
    """Opens one lane; called again after a fence."""

    def __init__(
        self,
        topic: str,
        partition: int,
        topic_id: str,
        results: str,
        attempts: Attempts,
        consumer_arguments: Mapping[str, Any],
    ) -> None:
        self._where = TopicPartition(topic, partition)
        self._topic_id = topic_id
        self._results = TopicPartition(results, partition)
        self._attempts = attempts
        self._consumer_arguments = consumer_arguments

    async def __call__(self, committer: Committer) -> tuple[int, dict[int, int]]:
        """Fence, then find the position and the deaths that were written down.

        Raises:
            Halted: one of the cases above.
        """
        committed = await committer.open()
        consumer = AIOKafkaConsumer(**self._consumer_arguments)
        await consumer.start()
        try:
            bounds = await _bounds(consumer, self._where)
            if committed is None:
                await self._require_no_history(consumer)
                position = bounds.start
            else:
                position = require_possible(committed, bounds, self._topic_id)
        finally:
            await consumer.stop()
        return position, await self._attempts.load(*self._where, position)

    async def _require_no_history(self, consumer: AIOKafkaConsumer) -> None:
        last = await last_answered(consumer, self._results, self._where)
        if last is not None:
            raise Halted(
                f"the group has no offset for {self._where.topic}-{self._where.partition}, but "
                f"{self._results.topic} holds the answer to offset {last}: {ADVICE}"
            )


def require_possible(committed: Committed, bounds: Bounds, topic_id: str) -> int:
    """The position to continue from.

    Raises:
        Halted: what is committed does not fit the log.
    """
    offset = committed.offset
    if committed.topic_id and topic_id and committed.topic_id != topic_id:
        raise Halted(
            f"offset {offset} was committed for topic id {committed.topic_id}, the topic is now "
            f"{topic_id}: it was deleted and made anew: {ADVICE}"
        )
    if offset < bounds.start:
        raise Halted(
            f"requests {offset} to {bounds.start - 1} were removed by retention before they were "
            f"answered: {ADVICE}"
        )
    if offset > bounds.end:
        raise Halted(
            f"offset {offset} is committed, but the log ends at {bounds.end}: it was cut: {ADVICE}"
        )
    return offset


async def _bounds(consumer: AIOKafkaConsumer, where: TopicPartition) -> Bounds:
    start = (await consumer.beginning_offsets([where]))[where]
    end = (await consumer.end_offsets([where]))[where]
    return Bounds(start, end)


async def last_answered(
    consumer: AIOKafkaConsumer, results: TopicPartition, requests: TopicPartition
) -> int | None:
    """The highest offset of `requests` that has a result among the last ones, None if none has."""
    bounds = await _bounds(consumer, results)
    consumer.assign([results])
    consumer.seek(results, max(bounds.start, bounds.end - LAST_RESULTS))
    found: int | None = None
    while await consumer.position(results) < bounds.end:
        for records in (await consumer.getmany(timeout_ms=READ_TIMEOUT_MS)).values():
            for record in records:
                story = dict(record.headers)
                if story.get(names.REQUEST_TOPIC) == requests.topic.encode():
                    found = max(found or 0, int(story.get(names.REQUEST_OFFSET) or 0))
    return found
