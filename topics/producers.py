"""Producers that know every line of their protocol: idempotent, and the ground of transactions.

Over aiokafka's client (connections, metadata, authentication) this module sends single requests
and judges their errors: those that may pass are tried again until the call's deadline, the others
end the producer. After any error a producer is finished: close it and open another, which settles
what it left. An idempotent batch that is sent twice is stored once (KIP-98).
`tests/integration/test_transactions.py` and `test_transport.py` run it against a real broker.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportPrivateUsage=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information, and hides the connections that a group of requests uses)

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiokafka import errors as kafka
from aiokafka.client import CoordinationType
from aiokafka.structs import TopicPartition

from chimera.schemas.batches import Encoded
from chimera.schemas.errors import ChimeraError
from chimera.topics import protocol

DUPLICATE_SEQUENCE = 46  # the batch is there already: an answer was lost, not the records
LEADER_NOT_AVAILABLE = 5
MOVED = frozenset({3, 5, 6, 15, 16})  # another leader or coordinator: look it up again
# 19 is also a broker's word for "the coordinator has not verified this transaction yet"
RETRIABLE = MOVED | {7, 9, 13, 14, 19, 20, 51, 56, 74, 75, 88, 89}
FENCED = frozenset({45, 47, 48, 49, 59, 90, 120})  # the last of them: abortable, by KIP-1050
UNKNOWN = -1_002  # ours: an error of the client itself, not one of the broker's
NO_CONNECTION = -1_001  # ours: the request or its answer was lost on the way
BACKOFF_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # the last one goes on
IN_FLIGHT = 5  # batches of a partition: so many does a broker know again if they come twice
CONNECTION_TROUBLE = (
    kafka.KafkaConnectionError,
    kafka.NodeNotReadyError,
    kafka.RequestTimedOutError,
    kafka.StaleMetadata,
)

Where = tuple[str, int]
"""A topic and a partition of it."""


class ProducerError(ChimeraError):
    """The producer is finished; what it had not made visible is still to do."""


class Fenced(ProducerError):
    """Somebody opened the same id, or the broker gave up on a transaction that took too long."""


class Undecided(ProducerError):
    """A deadline passed; whether the transaction was committed is not known here."""


class Refused(ProducerError):
    """The broker will not take this, now or later; the message has its reason."""


@dataclass(frozen=True, slots=True)
class Produced:
    """Records for one partition of one topic."""

    topic: str
    partition: int
    records: Encoded


@dataclass(frozen=True, slots=True)
class Committed:
    """A group's position in a partition, and the id of the topic that it was committed for."""

    offset: int
    topic_id: str = ""


class Producer:
    """Numbers batches and sends them; one task uses it at a time, every call ends in time."""

    transactional_id: str | None = None

    def __init__(self, client: Any, group: str, *, call_timeout_s: float) -> None:
        """`client` is a started AIOKafkaClient and shared; connections are this producer's own."""
        self._client = client
        self._group = group
        self._call_timeout_s = call_timeout_s
        self._transaction_timeout_ms = 0
        self._connections = f"producer:{id(self)}"
        self._coordinators: dict[CoordinationType, int] = {}
        self._producer_id, self._epoch = -1, -1
        self._sequences: dict[tuple[str, int], int] = {}

    async def committed(self, topic: str, partition: int) -> Committed | None:
        """What the group has committed, None where it has nothing; waits for pending ones."""
        found: list[Committed] = []

        async def once() -> int:
            response = await self._send(
                await self._coordinator(CoordinationType.GROUP),
                protocol.OffsetFetchStruct,
                self._group,
                [(topic, [partition], {})],
                True,
            )
            if response.error_code:
                return int(response.error_code)
            _, offset, _, metadata, error_code, _ = response.topics[0][1][0]
            if not error_code and offset >= 0:
                found.append(Committed(int(offset), metadata or ""))
            return int(error_code)

        await self._until_done(once, "read the committed offset", CoordinationType.GROUP)
        return found[0] if found else None

    async def close(self) -> None:
        """Drop the connections; an open transaction is left to the next `open` or its time-out."""
        for key in [key for key in self._client._conns if key[1] == self._connections]:
            closed = self._client._conns.pop(key).close()
            if closed is not None:
                await closed

    async def _produce_all(self, produced: Sequence[Produced]) -> None:
        """All batches, those of one partition in order; as few requests as that takes."""
        rounds: list[list[Produced]] = []
        seen: Counter[Where] = Counter()
        for batch in produced:
            where = (batch.topic, batch.partition)
            if seen[where] == len(rounds):
                rounds.append([])
            rounds[seen[where]].append(batch)
            seen[where] += 1
        for together in rounds[:1]:  # it takes the partitions into the transaction
            await self._produce(together)
        for at in range(1, len(rounds), IN_FLIGHT):
            await self._produce_ahead(rounds[at : at + IN_FLIGHT])

    async def _produce(self, together: Sequence[Produced]) -> None:
        """One batch for each of some partitions, one request for each of their leaders."""
        await self._deliver(self._numbered(together))

    async def _produce_ahead(self, rounds: Sequence[Sequence[Produced]]) -> None:
        """One behind the other without waiting; what was not taken goes again, each by itself.

        The broker takes no batch whose predecessor it has not, so their order holds.
        """
        sent = [self._numbered(together) for together in rounds]
        try:
            async with asyncio.timeout(self._call_timeout_s):
                tries = [_judged(partial(self._send_what_is_left, left)) for left in sent]
                await asyncio.gather(*tries)
        except TimeoutError:
            raise Undecided(f"{self.name}: no answer in time: produce") from None
        for left in sent:
            if left:
                await self._deliver(left)

    async def _deliver(self, left: dict[Where, bytes]) -> None:
        names = ", ".join(f"{topic}-{partition}" for topic, partition in left)
        await self._until_done(partial(self._send_what_is_left, left), f"produce to {names}", None)

    async def _send_what_is_left(self, left: dict[Where, bytes]) -> int:
        """Takes out what was acknowledged; the error code of another, 0 for none."""
        found = 0
        for leader, partitions in self._by_leader(left).items():
            if leader is None:
                found = LEADER_NOT_AVAILABLE
                continue
            codes = await self._send_batches(leader, partitions)
            for where in partitions:
                code = codes.get(where, UNKNOWN)
                if code in (0, DUPLICATE_SEQUENCE):
                    del left[where]
                elif not found or code not in RETRIABLE:
                    found = code
        return found

    def _numbered(self, together: Sequence[Produced]) -> dict[Where, bytes]:
        """As they are sent, with the numbers that follow what was numbered before."""
        if self._producer_id < 0:  # the broker would take it, outside of every transaction
            raise Refused(f"{self.name}: used before it was opened")
        found: dict[Where, bytes] = {}
        for batch in together:
            where = (batch.topic, batch.partition)
            sequence = self._sequences.get(where, 0)
            found[where] = batch.records.sent_by(
                self._producer_id,
                self._epoch,
                sequence,
                transactional=self.transactional_id is not None,
            )
            self._sequences[where] = sequence + batch.records.count
        return found

    def _by_leader(self, batches: Mapping[Where, bytes]) -> dict[int | None, dict[Where, bytes]]:
        found: dict[int | None, dict[Where, bytes]] = {}
        for where, encoded in batches.items():
            leader = self._client.cluster.leader_for_partition(TopicPartition(*where))
            is_known = leader is not None and leader >= 0
            found.setdefault(leader if is_known else None, {})[where] = encoded
        return found

    async def _send_batches(self, leader: int, batches: Mapping[Where, bytes]) -> dict[Where, int]:
        """One Produce request; the error code of each."""
        topics: dict[str, list[Any]] = {}
        for (topic, partition), encoded in batches.items():
            topics.setdefault(topic, []).append((partition, encoded, {}))
        response = await self._send(
            leader,
            protocol.ProduceStruct,
            self.transactional_id,
            -1,
            int(self._call_timeout_s * 1000),
            [(topic, partitions, {}) for topic, partitions in topics.items()],
        )
        return {
            (topic, int(partition[0])): int(partition[1])
            for topic, partitions, *_ in response.topics
            for partition in partitions
        }

    async def _init(
        self,
        node: Callable[[], Awaitable[int]],
        kind: CoordinationType | None,
        held: tuple[int, int] = (-1, -1),
    ) -> None:
        """`held`: the producer id and epoch that it must still have, or it is fenced."""

        async def once() -> int:
            response = await self._send(
                await node(),
                protocol.InitProducerIdStruct,
                self.transactional_id,
                self._transaction_timeout_ms,
                *held,
            )
            self._adopt(response.producer_id, response.producer_epoch)
            return int(response.error_code)

        await self._until_done(once, "take a producer id", kind)

    def _adopt(self, producer_id: int, epoch: int) -> None:
        if (producer_id, epoch) != (self._producer_id, self._epoch):
            self._producer_id, self._epoch = producer_id, epoch
            self._sequences.clear()

    async def _coordinator(self, kind: CoordinationType) -> int:
        node = self._coordinators.get(kind)
        if node is None:
            key = self._group if kind is CoordinationType.GROUP else self.transactional_id
            node = int(await self._client.coordinator_lookup(kind, key))
            self._coordinators[kind] = node
        return node

    async def _send(self, node: int, struct: Any, *fields: Any) -> Any:
        request = protocol.Exact(struct, *fields)
        return await self._client.send(node, request, group=self._connections)

    @property
    def name(self) -> str:
        return self.transactional_id or "idempotent producer"

    async def _until_done(
        self, once: Callable[[], Awaitable[int]], what: str, kind: CoordinationType | None
    ) -> None:
        """Repeat `once` while its error may pass, at most for the call's time-out."""
        deadline = asyncio.get_running_loop().time() + self._call_timeout_s
        for attempt in itertools.count():
            try:
                async with asyncio.timeout_at(deadline):
                    code, may_pass = await _judged(once)
                    if code in (0, DUPLICATE_SEQUENCE):
                        return
                    if may_pass:
                        await self._prepare_retry(code, kind, attempt)
                        continue
            except TimeoutError:
                raise Undecided(f"{self.name}: no answer in time: {what}") from None
            reason = f"{self.name}: {what}: {kafka.for_code(code).__name__} ({code})"
            raise Fenced(reason) if code in FENCED else Refused(reason)

    async def _prepare_retry(self, code: int, kind: CoordinationType | None, attempt: int) -> None:
        if code in MOVED or code == NO_CONNECTION:
            if kind is not None:
                self._coordinators.pop(kind, None)
            await self._client.force_metadata_update()
        await asyncio.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])


async def _judged(once: Callable[[], Awaitable[int]]) -> tuple[int, bool]:
    """The error code of one attempt, and whether it may pass by itself."""
    try:
        code = await once()
    except CONNECTION_TROUBLE:
        return NO_CONNECTION, True
    except kafka.KafkaError as error:
        code = int(getattr(error, "errno", UNKNOWN))
    return code, code in RETRIABLE


class IdempotentProducer(Producer):
    """Acknowledged by all in-sync replicas, each batch once, no transaction."""

    async def open(self) -> None:
        """Take a producer id from any broker."""
        self._transaction_timeout_ms = 60_000  # the field is checked also where it means nothing

        async def any_node() -> int:
            return int(self._client.get_random_node())

        await self._init(any_node, None)

    async def produce(self, produced: Sequence[Produced]) -> None:
        """Send all batches; returns when each is acknowledged."""
        await self._produce_all(produced)
