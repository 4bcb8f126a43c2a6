"""Where a group stands in its input partitions, as the brokers tell; and setting it by command.

A lane that halts asks for its offset now and then, so it may be set while nodes run: in a transaction
of the lane's own id, which fences whoever had it. Any other lane's is set only while nobody is in the
group: the id is fenced first, so that no commit of a former owner can come later, and the broker
refuses the offset if somebody joined meanwhile. `tests/cli/test_offsets.py` halts real lanes and
resumes them.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from chimera.agents.lanes.history import History
from chimera.agents.lanes.partners import needed
from chimera.cli.offsets.position import Position
from chimera.schemas.errors import ConfigurationError, KafkaUnavailable
from chimera.schemas.settings import Settings
from chimera.topics import admin, clients
from chimera.topics.catalogue import Catalogue, catalogue
from chimera.topics.producers import Committed, ProducerError, Undecided
from chimera.topics.transactions import TransactionalProducer

MEMBERS = 5  # which field of a described group
FETCH_WAIT_MS = 20  # a question for offsets waits behind a fetch that waits for records


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
        self._topics: dict[str, tuple[str, int]] = {}  # of inputs: name -> id, partitions
        self._counts: dict[str, int] = {}  # partitions of all topics that lanes need

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
                lacking=tuple(
                    name for name, count in self._counts.items() if count <= where.partition
                ),
            )
            for where in partitions
        ]

    async def _find_topics(self) -> None:
        if self._topics:
            return
        inputs = [topic.name for topic in self.catalogue.inputs]
        names = needed(self.catalogue, self._settings)
        async with admin.connected(self._settings.kafka, self._bootstrap) as client:
            found = await admin.describe(client, names)
        missing = [name for name in inputs if name not in found]
        if missing:
            raise KafkaUnavailable(
                f"there is no topic {', '.join(missing)}: `chimera topics sync --apply`"
            )
        self._topics = {name: (found[name].topic_id, found[name].partitions) for name in inputs}
        self._counts = {name: found[name].partitions if name in found else 0 for name in names}

    async def look_back(self, position: Position) -> Position:
        """The same with `answered` and `moved`, where they can be looked for."""
        if position.lacking:
            return position
        where = TopicPartition(position.topic, position.partition)
        decided = await History(self._reader, self.catalogue, where).decided()
        return replace(position, answered=decided.answered, moved=decided.moved)

    async def survey(self) -> list[Position]:
        """All, looked back; but not at retry topics that have their offset: that reads all of them."""
        retries = {topic.name for topic in self.catalogue.retries}
        return [
            one if one.topic in retries and one.committed is not None else await self.look_back(one)
            for one in await self.positions()
        ]

    async def move(self, position: Position, offset: int) -> str:
        """Commit `offset` for the group; why it is not known to be done, or nothing.

        Raises:
            ConfigurationError: the offset is outside the log, or a node runs, and the lane with it;
                or somebody has moved it since `position` was asked for.
            KafkaUnavailable: the broker refuses it.
        """
        if not position.start <= offset <= position.end:
            raise ConfigurationError(
                f"offset {offset} is not in {position.topic}-{position.partition}, "
                f"which goes from {position.start} to {position.end}"
            )
        await self.require_movable(position)
        way = self._resume if position.trouble and not position.is_anew else self._commit
        try:
            await way(position, offset)
        except (Undecided, KafkaError) as error:
            return f"it is not known whether the offset is set, `offsets list` tells: {error!r}"
        except ProducerError as error:
            raise KafkaUnavailable(f"the offset is not set, try again: {error}") from error
        return ""

    async def require_movable(self, position: Position) -> None:
        """
        Raises:
            ConfigurationError: somebody is in the group, and the lane not one that a node resumes.
        """
        if not position.trouble or position.is_anew:
            await self.require_nobody()

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

    async def _resume(self, position: Position, offset: int) -> None:
        where = position.topic, position.partition
        async with self._fencing(position) as producer:
            await producer.commit((), *where, Committed(offset, position.topic_id))

    @asynccontextmanager
    async def _fencing(self, position: Position) -> AsyncGenerator[TransactionalProducer]:
        """With the lane's own id: from here on nobody has moved it, and who tries is fenced."""
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
                found = await producer.committed(position.topic, position.partition)
                if found != position.committed:
                    raise ConfigurationError(
                        f"{position.topic}-{position.partition} was moved meanwhile: look again"
                    )
                yield producer
            finally:
                await producer.close()

    async def _commit(self, position: Position, offset: int) -> None:
        """As nobody's lane, which the broker takes only while nobody is in the group."""
        kafka = self._settings.kafka
        where = TopicPartition(position.topic, position.partition)
        async with self._fencing(position):
            pass
        consumer = AIOKafkaConsumer(
            **clients.consumer_arguments(kafka, self._bootstrap, "chimera-offsets"),
            group_id=kafka.group,
        )
        try:
            await consumer.start()
            consumer.assign([where])
            await consumer.commit({where: OffsetAndMetadata(offset, position.topic_id)})
        except CommitFailedError as error:
            raise ConfigurationError("a node has joined meanwhile: stop it first") from error
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


def chosen(
    positions: Iterable[Position], topic: str | None, partition: int | None
) -> list[Position]:
    """Those of one topic, if it is given; of one partition, if that is.

    Raises:
        ConfigurationError: there is none.
    """
    found = [
        one
        for one in positions
        if topic in (None, one.topic) and partition in (None, one.partition)
    ]
    if not found:
        which = topic if partition is None else f"{topic}-{partition}"
        raise ConfigurationError(f"{which} is no input partition; `chimera offsets list` shows all")
    return found


def _committed(found: OffsetAndMetadata | None) -> Committed | None:
    if found is None or found.offset < 0:
        return None
    return Committed(found.offset, found.metadata or "")
