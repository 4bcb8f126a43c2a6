"""Two ways to make a decided window visible: all or nothing, or at least once.

    committer        visible results          after a crash between the steps
    ExactlyOnce      with the offset, or not  neither: the window is computed again
    AtLeastOnce      as soon as acknowledged  results repeat, recognisable by their ce_id

Both open by taking over the partition and return the position to continue from.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from chimera.topics.producers import Committed, IdempotentProducer, Produced
from chimera.topics.transactions import TransactionalProducer


class Committer(Protocol):
    answers_first: bool
    """Results are visible before their offset is: after a crash they may be all that there is."""

    async def open(self) -> Committed | None:
        """Take over; what the group has committed, None where it has nothing."""
        ...

    async def committed(self) -> Committed | None:
        """The same, asked by the way: nobody is fenced, and it may be stale."""
        ...

    async def commit(self, produced: Sequence[Produced], next_offset: int) -> None:
        """Make `produced` visible and `next_offset` the group's position."""
        ...

    async def begin(self, position: int) -> None:
        """Make the first position the group's, where it has none."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Partition:
    """An input partition and the identity of its topic, which is committed beside each offset."""

    topic: str
    number: int
    topic_id: str


class ExactlyOnce:
    """Results, dead letters, retries and the offset in one transaction."""

    answers_first = False

    def __init__(self, producer: TransactionalProducer, partition: Partition) -> None:
        self._producer = producer
        self._partition = partition

    async def open(self) -> Committed | None:
        await self._producer.open()
        return await self.committed()

    async def committed(self) -> Committed | None:
        return await self._producer.committed(self._partition.topic, self._partition.number)

    async def commit(self, produced: Sequence[Produced], next_offset: int) -> None:
        where = self._partition
        await self._producer.commit(
            produced, where.topic, where.number, Committed(next_offset, where.topic_id)
        )

    async def begin(self, position: int) -> None:
        await self.commit((), position)

    async def close(self) -> None:
        await self._producer.close()


class AtLeastOnce:
    """Results are acknowledged first; the offset follows without anybody waiting for it."""

    answers_first = True

    def __init__(
        self,
        producer: IdempotentProducer,
        partition: Partition,
        note: Callable[[Partition, int], None],
        settle: Callable[[], Awaitable[None]],
        *,
        step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`note` remembers an offset to commit soon; `settle` commits what was noted, now.

        `step` is called between a result and its offset: a fail-point.
        """
        self._producer = producer
        self._partition = partition
        self._note = note
        self._settle = settle
        self._step = step

    async def open(self) -> Committed | None:
        await self._producer.open()
        return await self.committed()

    async def committed(self) -> Committed | None:
        return await self._producer.committed(self._partition.topic, self._partition.number)

    async def commit(self, produced: Sequence[Produced], next_offset: int) -> None:
        await self._producer.produce(produced)
        self._step("after_produce")
        self._note(self._partition, next_offset)

    async def begin(self, position: int) -> None:
        self._note(self._partition, position)
        await self._settle()

    async def close(self) -> None:
        await self._settle()
        await self._producer.close()
