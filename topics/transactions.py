"""A transactional producer of one window at a time, after KIP-98, KIP-447 and KIP-890.

    open ── InitProducerId: fences whoever held the id, ends what they left open
      └ committed ── OffsetFetch (stable): trustworthy because it follows a fence
          └ commit ── Produce ── TxnOffsetCommit ── EndTxn          (again and again)

It speaks Kafka 4's transaction protocol (`transaction.version` 2): the broker adds partitions by
itself, and each transaction has its own epoch, so a commit that the network delayed cannot end a
later transaction. Three requests make a transaction; Produce and TxnOffsetCommit go one after the
other because a broker takes two at once for a retry of one and refuses it (measured).
After any error the producer is finished: close it, open another, which settles what it left.
`tests/integration/test_transactions.py` proves it, `benchmarks/transactions.py` times it.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportPrivateUsage=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information, and hides the connections that a group of requests uses)

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from aiokafka import errors as kafka
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.structs import TopicPartition

from chimera.schemas.errors import ChimeraError, KafkaUnavailable
from chimera.topics import protocol
from chimera.topics.batches import Records

DUPLICATE_SEQUENCE = 46  # the batch is there already: an answer was lost, not the records
LEADER_NOT_AVAILABLE = 5
MOVED = frozenset({3, 5, 6, 15, 16})  # another leader or coordinator: look it up again
# 19 is also a broker's word for "the coordinator has not verified this transaction yet"
RETRIABLE = MOVED | {7, 9, 13, 14, 19, 20, 51, 56, 74, 75, 88, 89}
FENCED = frozenset({45, 47, 48, 49, 59, 90, 120})  # the last of them: abortable, by KIP-1050
NO_CONNECTION = -1  # ours: the request or its answer was lost on the way
BACKOFF_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # the last one goes on


CONNECTION_TROUBLE = (
    kafka.KafkaConnectionError,
    kafka.NodeNotReadyError,
    kafka.RequestTimedOutError,
    kafka.StaleMetadata,
)


class TransactionError(ChimeraError):
    """The producer is finished; what it had not committed is still to do."""


class Fenced(TransactionError):
    """Somebody opened the same id, or the broker gave up on a transaction that took too long."""


class Undecided(TransactionError):
    """A deadline passed; whether the transaction was committed is not known here."""


class Refused(TransactionError):
    """The broker will not take this, now or later; the message has its reason."""


@dataclass(frozen=True, slots=True)
class Produced:
    """Records for one partition of one topic."""

    topic: str
    partition: int
    records: Records


async def require_features(client: AIOKafkaClient, *, transaction_version: int = 2) -> None:
    """Check that the brokers speak the transaction protocol that lanes need.

    Raises:
        KafkaUnavailable: the feature is missing or at a lower level; says how to raise it.
    """
    level = (await features(client)).get("transaction.version", 0)
    if level < transaction_version:
        raise KafkaUnavailable(
            f"the brokers' transaction.version is {level}, exactly once needs "
            f"{transaction_version}: use Kafka 4.0 or later and run `kafka-features.sh upgrade "
            "--feature transaction.version=2`, or set CHIMERA_SERVING__GUARANTEE=at_least_once"
        )


async def features(client: AIOKafkaClient) -> dict[str, int]:
    """The cluster's finalised features and their levels (ApiVersions, tagged field 2)."""
    request = protocol.Exact(protocol.ApiVersionsStruct, "chimera", "0")
    response = await client.send(client.get_random_node(), request)
    found = protocol.FEATURES.decode(BytesIO(response.tags.get(2, b"\x01"))) or []
    return {name: maximum for name, maximum, _minimum, _tags in found}


class TransactionalProducer:
    """One transactional id. One task uses it at a time; every call ends by its deadline."""

    def __init__(
        self,
        client: AIOKafkaClient,
        transactional_id: str,
        group: str,
        *,
        transaction_timeout_ms: int,
        call_timeout_s: float,
        step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`client` is started and shared; connections are this producer's own.

        `step` is called by name at each stage of a commit: stage timings and fail-points.
        """
        self.transactional_id = transactional_id
        self._client = client
        self._group = group
        self._transaction_timeout_ms = transaction_timeout_ms
        self._call_timeout_s = call_timeout_s
        self._step = step
        self._connections = f"transactions:{transactional_id}"
        self._coordinators: dict[CoordinationType, int] = {}
        self._producer_id, self._epoch = -1, -1
        self._sequences: dict[tuple[str, int], int] = {}

    async def open(self) -> None:
        """Fence the previous owner; on return whatever it left open is committed or aborted.

        Raises:
            Undecided: no answer in time. Refused: the broker forbids the id.
        """

        async def once() -> int:
            response = await self._send(
                await self._coordinator(CoordinationType.TRANSACTION),
                protocol.InitProducerIdStruct,
                self.transactional_id,
                self._transaction_timeout_ms,
                -1,
                -1,
            )
            self._adopt(response.producer_id, response.producer_epoch)
            return int(response.error_code)

        await self._until_done(once, "fence", CoordinationType.TRANSACTION)

    async def committed(self, topic: str, partition: int) -> int | None:
        """The group's committed offset, or None where it has none; waits for pending ones."""
        offset = -1

        async def once() -> int:
            nonlocal offset
            response = await self._send(
                await self._coordinator(CoordinationType.GROUP),
                protocol.OffsetFetchStruct,
                self._group,
                [(topic, [partition], {})],
                True,
            )
            if response.error_code:
                return int(response.error_code)
            _, offset, _, _, error_code, _ = response.topics[0][1][0]
            return int(error_code)

        await self._until_done(once, "read the committed offset", CoordinationType.GROUP)
        return offset if offset >= 0 else None

    async def commit(
        self, produced: Sequence[Produced], topic: str, partition: int, next_offset: int
    ) -> None:
        """All of `produced` and the group's offset for (topic, partition), or none of it.

        Raises:
            Fenced, Undecided, Refused: close this producer.
        """
        self._step("before_begin")
        for batch in produced:
            await self._produce(batch)
        self._step("after_produce")
        await self._commit_offset(topic, partition, next_offset)
        self._step("after_send_offsets")
        self._step("before_commit")
        await self._end()
        self._step("after_commit")

    async def close(self) -> None:
        """Drop the connections; an open transaction is left to the next `open` or its time-out."""
        for key in [key for key in self._client._conns if key[1] == self._connections]:
            closed = self._client._conns.pop(key).close()
            if closed is not None:
                await closed

    async def _produce(self, batch: Produced) -> None:
        where = (batch.topic, batch.partition)
        sequence = self._sequences.get(where, 0)
        encoded = batch.records.encode(self._producer_id, self._epoch, sequence, transactional=True)

        async def once() -> int:
            leader = self._client.cluster.leader_for_partition(TopicPartition(*where))
            if leader is None or leader < 0:
                return LEADER_NOT_AVAILABLE
            response = await self._send(
                leader,
                protocol.ProduceStruct,
                self.transactional_id,
                -1,
                int(self._call_timeout_s * 1000),
                [(batch.topic, [(batch.partition, encoded, {})], {})],
            )
            return int(response.topics[0][1][0][1])

        await self._until_done(once, f"produce to {batch.topic}-{batch.partition}", None)
        self._sequences[where] = sequence + batch.records.count

    async def _commit_offset(self, topic: str, partition: int, next_offset: int) -> None:
        async def once() -> int:
            response = await self._send(
                await self._coordinator(CoordinationType.GROUP),
                protocol.TxnOffsetCommitStruct,
                self.transactional_id,
                self._group,
                self._producer_id,
                self._epoch,
                -1,
                "",
                None,
                [(topic, [(partition, next_offset, -1, "", {})], {})],
            )
            return int(response.topics[0][1][0][1])

        await self._until_done(once, "commit the offset", CoordinationType.GROUP)

    async def _end(self) -> None:
        async def once() -> int:
            response = await self._send(
                await self._coordinator(CoordinationType.TRANSACTION),
                protocol.EndTxnStruct,
                self.transactional_id,
                self._producer_id,
                self._epoch,
                True,
            )
            if not response.error_code:
                self._adopt(response.producer_id, response.producer_epoch)
            return int(response.error_code)

        await self._until_done(once, "end the transaction", CoordinationType.TRANSACTION)

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
        return await self._client.send(
            node, protocol.Exact(struct, *fields), group=self._connections
        )

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
                raise Undecided(f"{self.transactional_id}: no answer in time: {what}") from None
            reason = f"{self.transactional_id}: {what}: {kafka.for_code(code).__name__} ({code})"
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
        code = int(error.errno)
    return code, code in RETRIABLE
