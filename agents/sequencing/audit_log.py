"""`audit.log`, owned: whoever opens it fences who had it, and goes on after the last leaf.

    opened ── fence ── last record ── read ── commit ◂─┐
                                       ▴───────────────┘
Nothing is remembered anywhere else: the tree, the counts and the positions stand in the last record's
headers. A group is told the positions too, for whoever looks at its lag, but Kafka forgets them after a
week of rest: they count only where the last record is of a release that told none. Where such a log's
group is forgotten too, nothing is read again unless it is asked for: leaves would repeat. The
transactional id never changes, so a sequencer that was taken for dead can add nothing more.
`tests/integration/test_sequencer.py` kills it at each step, and deletes its group.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient

from chimera.agents.sequencing.sequence import Chunk, Kind, Read, State
from chimera.schemas import headers
from chimera.schemas.batches import Encoded, encode
from chimera.schemas.errors import EvidenceMalformed, KafkaUnavailable, PositionsForgotten
from chimera.schemas.settings import Settings
from chimera.schemas.transparency import compact_range, coverage
from chimera.schemas.transparency.by_partition import key
from chimera.schemas.transparency.log_records import COMPACT_RANGE, COVERED, READ, Headers
from chimera.schemas.transparency.positions import Position, decode_positions
from chimera.topics import admin, clients, log_reader
from chimera.topics.catalogue import Topic, catalogue
from chimera.topics.producers import Committed, Produced, Producer, Where
from chimera.topics.transactions import TransactionalProducer, require_features

log = structlog.get_logger(__name__)

CLIENT = "chimera-sequencer"
FETCH_BYTES = 8 << 20  # of a partition; 1 MiB would be 12,000 leaves
WORTH_BYTES = 64 << 10  # less is waited for, or a transaction of ours would follow each of a lane's
POLL_RECORDS = 512  # segments that wait in memory; each is a window of a lane


class AuditLog:
    """From `opened`; after any error it is finished."""

    state: State  # what is committed

    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        step: Callable[[str], None],
        *,
        read_again: bool = False,
    ) -> None:
        """`read_again`: inputs whose positions are forgotten begin anew, though leaves may repeat."""
        kafka = settings.kafka
        self.topics = catalogue(settings)
        self.transactional_id = f"{kafka.group}-{self.topics.audit_log.name}-0"
        self.arguments = clients.consumer_arguments(kafka, bootstrap, CLIENT)
        self._settings, self._bootstrap, self._step = settings, bootstrap, step
        self._may_read_again = read_again
        self._waiting: deque[Read] = deque()
        inputs: tuple[tuple[Topic, Kind], ...] = (
            (self.topics.journal, "segment"),
            (self.topics.audit_events, "event"),
            (self.topics.model_commands, "command"),
        )
        self._kinds: dict[str, Kind] = {topic.name: kind for topic, kind in inputs}
        self._parts = [
            TopicPartition(one.name, number)
            for one, _ in inputs
            for number in range(one.partitions)
        ]

    @asynccontextmanager
    async def opened(self) -> "AsyncGenerator[AuditLog]":
        """Fences whoever had it.

        Raises:
            KafkaUnavailable: no broker, no topics, or no transactions. ProducerError, KafkaError.
            EvidenceMalformed: the last record is none of ours. PositionsForgotten.
        """
        kafka = self._settings.kafka
        async with admin.connected(kafka, self._bootstrap, CLIENT) as client:
            self._ids = await self._found(client)
            await client.set_topics([*self._ids])
            await require_features(client)
            self._lanes_group = Producer(
                client, kafka.group, call_timeout_s=kafka.request_timeout_ms / 1000
            )
            self._producer = self._new_producer(client)
            self._consumer = AIOKafkaConsumer(
                **self.arguments,
                max_partition_fetch_bytes=FETCH_BYTES,
                fetch_min_bytes=WORTH_BYTES,
                fetch_max_wait_ms=self._settings.audit.poll_ms,
            )
            try:
                await self._open()
                yield self
            finally:
                await self._consumer.stop()
                await self._producer.close()
                await self._lanes_group.close()

    async def require_topics(self) -> None:
        """Fences nobody. Raises KafkaUnavailable: no broker, or no topics."""
        async with admin.connected(self._settings.kafka, self._bootstrap, CLIENT) as client:
            await self._found(client)

    async def _found(self, client: AIOKafkaClient) -> dict[str, str]:
        """Ids of the topics that are read and written."""
        topics = self.topics
        needed = [*self._kinds, topics.audit_log.name, topics.audit_checkpoints.name]
        found = await admin.topic_ids(client, needed)
        if missing := sorted(set(needed) - set(found)):
            raise KafkaUnavailable(f"no topic {missing[0]}: `chimera topics sync --apply`")
        return found

    def _new_producer(self, client: AIOKafkaClient) -> TransactionalProducer:
        return TransactionalProducer(
            client,
            self.transactional_id,
            f"{self._settings.kafka.group}.sequencer",
            transaction_timeout_ms=self._settings.commit.transaction_timeout_ms,
            call_timeout_s=self._settings.kafka.request_timeout_ms / 1000,
            step=self._step,
        )

    async def _open(self) -> None:
        await self._producer.open()
        async with log_reader.reading(self.arguments, self.topics.audit_log.name) as reader:
            last = await reader.last()
        self.state = replace(_state(last), topic_ids=self._ids)
        await self._consumer.start()
        self._consumer.assign(self._parts)
        begins = await self._consumer.beginning_offsets(self._parts)
        ends = await self._consumer.end_offsets(self._parts)
        read = dict(self.state.read)
        positions = {part: await self._position(part) for part in self._parts}
        if last is not None and READ not in dict(last[1]) and not self._may_read_again:
            _require_known(positions, [one for one in self._parts if begins[one] < ends[one]])
        for part, found in positions.items():
            if found:
                read[key(*part)] = found
            start = found.next if found else begins[part]
            is_known = not found or found.topic_id == self._ids[part.topic]
            if not is_known or not begins[part] <= start <= ends[part]:
                log.error("records_were_removed", **part._asdict(), start=start)
                start = begins[part]
            self._consumer.seek(part, start)
        self.state = replace(
            self.state, read=read
        )  # of a group, too: the next record tells them all

    async def _position(self, part: TopicPartition) -> Position | None:
        """None: nothing of it has a leaf."""
        if self.state.read:
            return self.state.read.get(key(*part))
        committed = await self._producer.committed(*part)
        return Position(committed.topic_id, committed.offset) if committed else None

    async def read(self, wait_ms: int) -> deque[Read]:
        """What waits to be sequenced; who takes a record takes it from the left."""
        if not self._waiting:
            found = await self._consumer.getmany(timeout_ms=wait_ms, max_records=POLL_RECORDS)
            for part, records in found.items():
                kind = self._kinds[part.topic]
                self._waiting.extend(
                    Read(
                        (part.topic, part.partition),
                        one.offset,
                        one.timestamp,
                        one.value or b"",
                        kind,
                    )
                    for one in records
                )
        return self._waiting

    async def commit(self, chunk: Chunk | None, notes: Sequence[bytes]) -> None:
        """Make leaves, their inputs' positions, and checkpoints visible, or nothing of it.

        Raises:
            Fenced, Undecided, Refused.
        """
        produced = [Produced(self.topics.audit_checkpoints.name, 0, _record(one)) for one in notes]
        positions: Mapping[Where, Committed] = {}
        if chunk is not None:
            produced += [Produced(self.topics.audit_log.name, 0, one) for one in chunk.batches]
            positions = {
                where: Committed(offset, self._ids[where[0]])
                for where, offset in chunk.positions.items()
            }
        await self._producer.commit_all(produced, positions)
        if chunk is not None:
            self.state = chunk.state

    async def lag(self) -> dict[Where, int]:
        """Of each input, the records on the broker that have no leaves yet, as far as was heard."""
        waiting = Counter(one.where for one in tuple(self._waiting))  # a thread takes from it
        found: dict[Where, int] = {}
        for part in self._parts:
            end = self._consumer.highwater(part)
            if end is not None:
                behind = end - await self._consumer.position(part)
                found[part.topic, part.partition] = max(0, behind) + waiting[part]
        return found

    async def committed_by_lanes(self) -> dict[Where, int]:
        """The offset that the lanes' group has committed, where it has one."""
        found: dict[Where, int] = {}
        for topic in self.topics.inputs:
            for number in range(topic.partitions):
                committed = await self._lanes_group.committed(topic.name, number)
                if committed is not None:
                    found[topic.name, number] = committed.offset
        return found

    async def journal_ends(self) -> dict[Where, int]:
        """How far segments are visible now."""
        parts = [one for one in self._parts if one.topic == self.topics.journal.name]
        ends = await self._consumer.end_offsets(parts)
        return {(part.topic, part.partition): end for part, end in ends.items()}

    async def has_read(self, ends: Mapping[Where, int]) -> bool:
        """Whether all that lies below these offsets was taken from `read`."""
        if any(one.offset < ends.get(one.where, 0) for one in self._waiting):
            return False
        for (topic, number), end in ends.items():
            if await self._consumer.position(TopicPartition(topic, number)) < end:
                return False
        return True


def _require_known(
    positions: Mapping[TopicPartition, Position | None], filled: Sequence[TopicPartition]
) -> None:
    """Of each topic that has records, at least one: a partition that has none is a new one then.

    Raises PositionsForgotten.
    """
    known = {part.topic for part, found in positions.items() if found}
    for part in filled:
        if part.topic not in known:
            raise PositionsForgotten(
                f"{part.topic}: an earlier release wrote this log, and Kafka has forgotten how far it"
                " had read; whoever begins anew may write leaves again. If that is meant, or it never"
                " had a leaf: `chimera sequencer --read-again`, once"
            )


def _record(note: bytes) -> Encoded:
    origin = note.partition(b"\n")[0]
    return encode([origin], [headers.tail(note, 0, b"")])


def _state(last: tuple[bytes, Headers] | None) -> State:
    """Raises EvidenceMalformed: the last record was not written by a sequencer."""
    if last is None:
        return State()
    told = dict(last[1])
    tree, covered, read = (told.get(name) for name in (COMPACT_RANGE, COVERED, READ))
    if tree is None or covered is None:
        raise EvidenceMalformed(f"audit.log: its last record has no {COMPACT_RANGE} and {COVERED}")
    return State(
        compact_range.decode(tree),
        coverage.decode_lanes(covered),
        decode_positions(read) if read is not None else {},
    )
