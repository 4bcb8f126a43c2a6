"""Where a group stands in its input partitions, as the brokers tell; and setting it by command.

    committed < start     retention was faster            answered    the last request with a result
    committed > end       the log was cut                 moved       the last one on a retry topic
    another topic id      the topic was made anew

A position is set only while nobody is in the group: the lane's transactional id is fenced first, so
that no commit of a former owner can come later, and the broker refuses the offset if somebody
joined meanwhile. `tests/cli/test_offsets.py` halts real lanes and resumes them.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from chimera.agents.lanes.commit_loop import Halted
from chimera.agents.lanes.opening import (
    LAST_RESULTS,
    READ_TIMEOUT_MS,
    Bounds,
    last_answered,
    require_possible,
)
from chimera.schemas import headers as names
from chimera.schemas.errors import ConfigurationError, KafkaUnavailable
from chimera.schemas.settings import Settings
from chimera.topics import admin, clients
from chimera.topics.catalogue import Catalogue, catalogue
from chimera.topics.producers import Committed
from chimera.topics.transactions import TransactionalProducer

MEMBERS = 5  # which field of a described group
FETCH_WAIT_MS = 20  # a question for offsets waits behind a fetch that waits for records


@dataclass(frozen=True, slots=True)
class Position:
    """One input partition. Readable offsets are `start` to `end` - 1."""

    topic: str
    partition: int
    topic_id: str
    start: int
    end: int
    committed: Committed | None
    answered: int | None = None  # looked for in the latest results only
    moved: int | None = None

    @property
    def lag(self) -> int:
        """Requests that are not committed."""
        first = self.committed.offset if self.committed else self.start
        return max(0, self.end - max(first, self.start))

    @property
    def restored(self) -> int | None:
        """Where to go on after the last request with an outcome; None: no result tells."""
        decided = [offset for offset in (self.answered, self.moved) if offset is not None]
        return max(decided) + 1 if decided else None

    @property
    def trouble(self) -> str:
        """Why a lane that opens here would halt; empty: it would not."""
        if self.committed is None:
            return "" if self.answered is None else f"no offset, but {self.answered} is answered"
        try:
            require_possible(self.committed, Bounds(self.start, self.end), self.topic_id)
        except Halted as reason:
            return str(reason).split(": see ")[0]
        return ""


class Desk:
    """Asks the brokers about one group; from `opened`."""

    def __init__(
        self, settings: Settings, bootstrap: str, group: AIOKafkaAdminClient, reader: Any
    ) -> None:
        self._settings = settings
        self._bootstrap = bootstrap
        self._group = group
        self._reader: AIOKafkaConsumer = reader
        self.catalogue: Catalogue = catalogue(settings)
        self._topics: dict[str, tuple[str, int]] = {}  # name -> id, partitions

    async def members(self) -> int:
        """How many consumers are in the group: nodes that run."""
        answers: list[Any] = list(
            await self._group.describe_consumer_groups([self._settings.kafka.group])
        )
        return sum(len(group[MEMBERS]) for answer in answers for group in answer.groups)

    async def positions(self) -> list[Position]:
        """Of every input partition, in the catalogue's order; without `answered` and `moved`."""
        await self._find_topics()
        partitions = [
            TopicPartition(name, number)
            for name, (_, count) in self._topics.items()
            for number in range(count)
        ]
        committed = await self._group.list_consumer_group_offsets(
            self._settings.kafka.group, partitions=partitions
        )
        starts = await self._reader.beginning_offsets(partitions)
        ends = await self._reader.end_offsets(partitions)
        return [
            Position(
                where.topic,
                where.partition,
                self._topics[where.topic][0],
                starts[where],
                ends[where],
                _committed(committed.get(where)),
            )
            for where in partitions
        ]

    async def _find_topics(self) -> None:
        if self._topics:
            return
        inputs = [topic.name for topic in self.catalogue.inputs]
        async with admin.connected(self._settings.kafka, self._bootstrap) as client:
            found = await admin.describe(client, inputs)
        missing = [name for name in inputs if name not in found]
        if missing:
            raise KafkaUnavailable(
                f"there is no topic {', '.join(missing)}: `chimera topics sync --apply`"
            )
        self._topics = {name: (found[name].topic_id, found[name].partitions) for name in inputs}

    async def look_back(self, position: Position) -> Position:
        """The same with `answered` and `moved`; a retry topic's own offsets leave no such trace."""
        requests = TopicPartition(position.topic, position.partition)
        if position.topic != self.catalogue.requests.name:
            return position
        results = TopicPartition(self.catalogue.results.name, position.partition)
        answered = await last_answered(self._reader, results, requests)
        moved = [
            await self._last_moved(TopicPartition(topic.name, position.partition), requests)
            for topic in self.catalogue.retries
        ]
        latest = max((offset for offset in moved if offset is not None), default=None)
        return replace(position, answered=answered, moved=latest)

    async def _last_moved(self, retry: TopicPartition, requests: TopicPartition) -> int | None:
        consumer = self._reader
        start = (await consumer.beginning_offsets([retry]))[retry]
        end = (await consumer.end_offsets([retry]))[retry]
        if start == end:
            return None
        consumer.assign([retry])
        consumer.seek(retry, max(start, end - LAST_RESULTS))
        found: int | None = None
        while await consumer.position(retry) < end:
            for records in (await consumer.getmany(timeout_ms=READ_TIMEOUT_MS)).values():
                for record in records:
                    story = dict(record.headers)
                    if story.get(names.ORIG_TOPIC) == requests.topic.encode():
                        found = max(found or 0, int(story.get(names.ORIG_OFFSET) or 0))
        return found

    async def move(self, position: Position, offset: int) -> None:
        """Commit `offset` for the group.

        Raises:
            ConfigurationError: the offset is outside the log, or a node runs.
            KafkaUnavailable: the broker refuses it.
        """
        if not position.start <= offset <= position.end:
            raise ConfigurationError(
                f"offset {offset} is not in {position.topic}-{position.partition}, "
                f"which goes from {position.start} to {position.end}"
            )
        await self.require_nobody()
        await self._fence(position)
        await self._commit(position, offset)

    async def require_nobody(self) -> None:
        """
        Raises:
            ConfigurationError: somebody is in the group.
        """
        count = await self.members()
        if count:
            raise ConfigurationError(
                f"{count} node{'s' if count > 1 else ''} of group {self._settings.kafka.group} "
                "still run, or ended less than a session time-out ago: stop them first"
            )

    async def _fence(self, position: Position) -> None:
        kafka = self._settings.kafka
        async with admin.connected(kafka, self._bootstrap) as client:
            producer = TransactionalProducer(
                client,
                f"{kafka.group}-{position.topic}-{position.partition}",
                kafka.group,
                transaction_timeout_ms=self._settings.commit.transaction_timeout_ms,
                call_timeout_s=kafka.request_timeout_ms / 1000,
            )
            try:
                await producer.open()
            finally:
                await producer.close()

    async def _commit(self, position: Position, offset: int) -> None:
        kafka = self._settings.kafka
        where = TopicPartition(position.topic, position.partition)
        consumer = AIOKafkaConsumer(
            **clients.consumer_arguments(kafka, self._bootstrap, "chimera-offsets"),
            group_id=kafka.group,
        )
        await consumer.start()
        try:
            consumer.assign([where])
            await consumer.commit({where: OffsetAndMetadata(offset, position.topic_id)})
        except CommitFailedError as error:
            raise ConfigurationError("a node has joined meanwhile: stop it first") from error
        except KafkaError as error:
            raise KafkaUnavailable(f"the broker refuses the offset: {error}") from error
        finally:
            await consumer.stop()


@asynccontextmanager
async def opened(settings: Settings, bootstrap: str) -> AsyncGenerator[Desk, None]:
    """
    Raises:
        KafkaUnavailable: no broker answers.
    """
    group = AIOKafkaAdminClient(**clients.arguments(settings.kafka, bootstrap, "chimera-offsets"))
    reader = AIOKafkaConsumer(
        **clients.consumer_arguments(settings.kafka, bootstrap, "chimera-offsets"),
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    try:
        await group.start()
        await reader.start()
    except KafkaError as error:
        await group.close()
        await reader.stop()
        raise KafkaUnavailable(f"no broker answers at {bootstrap}: {error}") from error
    try:
        yield Desk(settings, bootstrap, group, reader)
    finally:
        await reader.stop()
        await group.close()


def chosen(positions: Iterable[Position], topic: str, partition: int | None) -> list[Position]:
    """Those of one topic; of one partition, if it is given.

    Raises:
        ConfigurationError: there is none.
    """
    found = [one for one in positions if one.topic == topic and partition in (None, one.partition)]
    if not found:
        which = topic if partition is None else f"{topic}-{partition}"
        raise ConfigurationError(f"{which} is no input partition; `chimera offsets list` shows all")
    return found


def _committed(found: OffsetAndMetadata | None) -> Committed | None:
    if found is None or found.offset < 0:
        return None
    return Committed(found.offset, found.metadata or "")
