"""A transactional producer of one window at a time, after KIP-98, KIP-447 and KIP-890.

    open ── InitProducerId: fences whoever held the id, ends what they left open
      ├ renew ── InitProducerId with its own epoch: it still holds the id, or is fenced
      └ committed ── OffsetFetch (stable): trustworthy because it follows a fence
          └ commit ── Produce ── TxnOffsetCommit ── EndTxn          (again and again)

It speaks Kafka 4's transaction protocol (`transaction.version` 2): the broker adds partitions by
itself, and each transaction has its own epoch, so a commit that the network delayed cannot end a
later transaction. Three requests make a transaction; Produce and TxnOffsetCommit go one after the
other because a broker takes two at once for a retry of one and refuses it (measured).
`tests/integration/test_transactions.py` proves it, `benchmarks/transactions.py` times it.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any

from aiokafka.client import CoordinationType

from chimera.schemas.errors import KafkaUnavailable
from chimera.topics import protocol
from chimera.topics.producers import Committed, Produced, Producer, Where


async def require_features(client: Any, *, transaction_version: int = 2) -> None:
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


async def features(client: Any) -> dict[str, int]:
    """The cluster's finalised features and their levels (ApiVersions, tagged field 2)."""
    request = protocol.Exact(protocol.ApiVersionsStruct, "chimera", "0")
    response = await client.send(client.get_random_node(), request)
    found = protocol.FEATURES.decode(BytesIO(response.tags.get(2, b"\x01"))) or []
    return {name: maximum for name, maximum, _minimum, _tags in found}


class TransactionalProducer(Producer):
    """One transactional id; one transaction at a time."""

    def __init__(
        self,
        client: Any,
        transactional_id: str,
        group: str,
        *,
        transaction_timeout_ms: int,
        call_timeout_s: float,
        step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`step` is called by name at each stage of a commit: stage timings and fail-points."""
        super().__init__(client, group, call_timeout_s=call_timeout_s)
        self.transactional_id = transactional_id
        self._transaction_timeout_ms = transaction_timeout_ms
        self._step = step

    async def open(self) -> None:
        """Fence the previous owner; on return whatever it left open is committed or aborted.

        Raises:
            Undecided: no answer in time. Refused: the broker forbids the id.
        """
        await self._init(
            lambda: self._coordinator(CoordinationType.TRANSACTION), CoordinationType.TRANSACTION
        )

    async def renew(self) -> None:
        """Prove that nobody opened the id since (KIP-360): its owner gets another epoch.

        Raises:
            Fenced: somebody did. Undecided, Refused.
        """
        await self._init(
            lambda: self._coordinator(CoordinationType.TRANSACTION),
            CoordinationType.TRANSACTION,
            (self._producer_id, self._epoch),
        )

    async def commit(
        self, produced: Sequence[Produced], topic: str, partition: int, committed: Committed
    ) -> None:
        """All of `produced` and the group's offset for (topic, partition), or none of it.

        Raises:
            Fenced, Undecided, Refused: close this producer.
        """
        await self.commit_all(produced, {(topic, partition): committed})

    async def commit_all(
        self, produced: Sequence[Produced], positions: Mapping[Where, Committed]
    ) -> None:
        """All of `produced` and the group's offsets, which may be none, or nothing of it.

        Raises:
            Fenced, Undecided, Refused: close this producer.
        """
        self._step("before_begin")
        await self._produce_all(produced)
        self._step("after_produce")
        if positions:
            await self._commit_offsets(positions)
        self._step("after_send_offsets")
        self._step("before_commit")
        await self._end()
        self._step("after_commit")

    async def _commit_offsets(self, positions: Mapping[Where, Committed]) -> None:
        topics: dict[str, list[Any]] = {}
        for (topic, partition), committed in positions.items():
            offset: Any = (partition, committed.offset, -1, committed.topic_id, {})
            topics.setdefault(topic, []).append(offset)

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
                [(topic, offsets, {}) for topic, offsets in topics.items()],
            )
            codes = [int(one[1]) for _, partitions, _ in response.topics for one in partitions]
            return next(filter(None, codes), 0)

        await self._until_done(once, "commit offsets", CoordinationType.GROUP)

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
