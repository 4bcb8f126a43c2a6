"""The transactional producer on a real broker: all or nothing, and one owner at a time."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError

from chimera.cli.kafka.server import EmbeddedKafka
from chimera.schemas import headers
from chimera.schemas.batches import encode, encode_all
from chimera.topics.producers import (
    Committed,
    Fenced,
    IdempotentProducer,
    Produced,
    Refused,
    Undecided,
)
from chimera.topics.transactions import TransactionalProducer, features, require_features

PRODUCE = 0  # the request's key
TAIL = headers.tail(b"value", 1, headers.headers([("name", b"text")]))


class Stand:
    """A broker's address, a topic of this test, and producers on one client."""

    def __init__(self, bootstrap: str, client: Any, topic: str) -> None:
        self.bootstrap, self.client, self.topic = bootstrap, client, topic

    def producer(
        self, call_timeout_s: float = 10, timeout_ms: int = 10_000
    ) -> TransactionalProducer:
        return TransactionalProducer(
            self.client,
            f"{self.topic}-0",
            self.topic,
            transaction_timeout_ms=timeout_ms,
            call_timeout_s=call_timeout_s,
        )

    def produced(self, *keys: bytes, partition: int = 0) -> list[Produced]:
        return [Produced(self.topic, partition, encode(keys, [TAIL] * len(keys)))]

    async def visible(self, partition: int = 0) -> list[bytes | None]:
        """Keys that a read_committed consumer sees, from the start to the last stable offset."""
        where = TopicPartition(self.topic, partition)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            isolation_level="read_committed",
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            consumer.assign([where])
            end = (await consumer.end_offsets([where]))[where]
            consumer.seek(where, 0)
            keys: list[bytes | None] = []
            while await consumer.position(where) < end:
                for found in (await consumer.getmany(timeout_ms=200)).values():
                    keys += [record.key for record in found]
            return keys
        finally:
            await consumer.stop()


class Losing:
    """A client on a bad line: its third batch never arrives, the answer to its fifth is lost."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.batches = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node: int, request: Any, **more: Any) -> Any:
        is_batch = request.prepare({}).API_KEY == PRODUCE
        self.batches += is_batch
        number = self.batches if is_batch else 0
        if number == 3:
            raise KafkaConnectionError
        answer = await self._client.send(node, request, **more)
        if number == 5:
            raise KafkaConnectionError
        return answer


@asynccontextmanager
async def stand(bootstrap: str, prefix: str) -> AsyncGenerator[Stand]:
    topic = f"{prefix}transactions"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 2, 1)])
    await admin.close()
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        await client.set_topics([topic])
        yield Stand(bootstrap, client, topic)
    finally:
        await client.close()


def test_transaction_makes_records_and_offset_visible_together(kafka: str, prefix: str) -> None:
    async def run() -> None:
        async with stand(kafka, prefix) as at:
            producer = at.producer()
            await producer.open()
            assert await producer.committed(at.topic, 0) is None
            for number in range(5):
                records = [*at.produced(b"a%d" % number, b"b%d" % number)]
                await producer.commit(records, at.topic, 0, Committed(number + 1, "the-topic-id"))
            assert await producer.committed(at.topic, 0) == Committed(5, "the-topic-id")
            assert len(await at.visible()) == 10
            await producer.close()

    asyncio.run(run())


def test_transaction_of_several_batches_and_partitions_keeps_their_order(
    kafka: str, prefix: str
) -> None:
    async def run() -> None:
        async with stand(kafka, prefix) as at:
            producer = at.producer()
            await producer.open()
            keys = [b"%04d" % number for number in range(1_000)]
            batches = encode_all(keys, [TAIL] * len(keys), 5_000)
            assert len(batches) > 5
            produced = [Produced(at.topic, 0, batch) for batch in batches]
            produced += at.produced(b"other", partition=1)
            await producer.commit(produced, at.topic, 0, Committed(1))
            await producer.commit(at.produced(b"last"), at.topic, 0, Committed(2))
            assert await at.visible() == [*keys, b"last"]
            assert await at.visible(1) == [b"other"]
            await producer.close()

    asyncio.run(run())


@pytest.mark.parametrize("count", [6, 20])
def test_batches_that_follow_a_lost_one_go_again_in_their_order(
    kafka: str, prefix: str, count: int
) -> None:
    async def run() -> None:
        async with stand(kafka, prefix) as at:
            at.client = Losing(at.client)
            producer = at.producer()
            await producer.open()
            keys = [b"%d" % number for number in range(count)]
            await producer.commit(
                [one for key in keys for one in at.produced(key)], at.topic, 0, Committed(1)
            )
            assert at.client.batches > count
            await producer.commit(at.produced(b"last"), at.topic, 0, Committed(2))
            assert await at.visible() == [*keys, b"last"]
            await producer.close()

    asyncio.run(run())


def test_transaction_of_a_producer_that_was_never_opened_is_refused(
    kafka: str, prefix: str
) -> None:
    """The broker itself would take the records, and show them without any transaction."""

    async def run() -> None:
        async with stand(kafka, prefix) as at:
            with pytest.raises(Refused, match="before it was opened"):
                await at.producer().commit(at.produced(b"a"), at.topic, 0, Committed(1))
            assert await at.visible() == []

    asyncio.run(run())


def test_transaction_left_open_is_undone_by_the_next_owner(kafka: str, prefix: str) -> None:
    async def run() -> None:
        async with stand(kafka, prefix) as at:
            first, second = at.producer(), at.producer()
            await first.open()
            await first._produce(at.produced(b"never"))  # pyright: ignore[reportPrivateUsage]  # stop half-way
            await first._commit_offsets({(at.topic, 0): Committed(7)})  # pyright: ignore[reportPrivateUsage]  # the same
            await second.open()
            assert await second.committed(at.topic, 0) is None
            await second.commit(at.produced(b"mine"), at.topic, 0, Committed(1))
            with pytest.raises(Fenced):
                await first._end()  # pyright: ignore[reportPrivateUsage]  # the rest of that commit
            assert await at.visible() == [b"mine"]
            assert await second.committed(at.topic, 0) == Committed(1)
            await asyncio.gather(first.close(), second.close())

    asyncio.run(run())


def test_transaction_of_a_previous_owner_is_fenced_at_its_first_step(
    kafka: str, prefix: str
) -> None:
    async def run() -> None:
        async with stand(kafka, prefix) as at:
            first, second = at.producer(), at.producer()
            await first.open()
            await first.commit(at.produced(b"one"), at.topic, 0, Committed(1))
            await second.open()
            with pytest.raises(Fenced):
                await first.commit(at.produced(b"two"), at.topic, 0, Committed(2))
            assert await second.committed(at.topic, 0) == Committed(1)
            assert await at.visible() == [b"one"]
            await asyncio.gather(first.close(), second.close())

    asyncio.run(run())


def test_owner_renews_its_id_until_another_one_opens_it(kafka: str, prefix: str) -> None:
    async def run() -> None:
        async with stand(kafka, prefix) as at:
            first, second = at.producer(), at.producer()
            await first.open()
            for _ in range(3):
                await first.renew()
            await first.commit(at.produced(b"one"), at.topic, 0, Committed(1))
            await first.renew()
            await second.open()
            with pytest.raises(Fenced):
                await first.renew()
            await second.renew()  # whoever was fenced has taken nothing from it
            await second.commit(at.produced(b"two"), at.topic, 0, Committed(2))
            assert await at.visible() == [b"one", b"two"]
            await asyncio.gather(first.close(), second.close())

    asyncio.run(run())


def test_transaction_that_outlives_its_time_out_is_fenced(kafka: str, prefix: str) -> None:
    async def run() -> None:
        async with stand(kafka, prefix) as at:
            producer, successor = at.producer(timeout_ms=1_000), at.producer()
            await producer.open()
            await producer._produce(at.produced(b"late"))  # pyright: ignore[reportPrivateUsage]  # stop half-way
            for _ in range(40):
                await asyncio.sleep(0.5)
                if not await at.visible() and await _is_fenced(producer, at):
                    break
            else:
                pytest.fail("the broker let a transaction of one second live for twenty")
            await successor.open()
            assert await at.visible() == []
            await asyncio.gather(producer.close(), successor.close())

    asyncio.run(run())


async def _is_fenced(producer: TransactionalProducer, at: Stand) -> bool:
    try:
        await producer._produce(at.produced(b"more"))  # pyright: ignore[reportPrivateUsage]  # one step alone
    except Fenced:
        return True
    return False


def test_transaction_survives_a_connection_that_breaks(kafka: str, prefix: str) -> None:
    async def run() -> None:
        async with stand(kafka, prefix) as at:
            producer = at.producer()
            await producer.open()
            for number in range(20):
                commit = asyncio.ensure_future(
                    producer.commit(at.produced(b"%d" % number), at.topic, 0, Committed(number + 1))
                )
                await asyncio.sleep(0.0005 * (number % 5))
                for connection in list(at.client._conns.values()):
                    connection.close()
                await commit
            assert await at.visible() == [b"%d" % number for number in range(20)]
            await producer.close()

    asyncio.run(run())


def test_transaction_without_a_broker_ends_by_its_deadline(prefix: str) -> None:
    async def run(broker: EmbeddedKafka) -> None:
        async with stand(broker.bootstrap, prefix) as at:
            producer = at.producer(call_timeout_s=1.5)
            await producer.open()
            broker.kill()
            with pytest.raises(Undecided):
                async with asyncio.timeout(20):
                    await producer.commit(at.produced(b"lost"), at.topic, 0, Committed(1))
            await producer.close()

    with EmbeddedKafka(is_brief=True) as broker:
        asyncio.run(run(broker))


def test_features_name_the_transaction_protocol(kafka: str, prefix: str) -> None:
    async def run() -> None:
        async with stand(kafka, prefix) as at:
            assert (await features(at.client))["transaction.version"] >= 2
            await require_features(at.client)
            with pytest.raises(Exception, match="kafka-features"):
                await require_features(at.client, transaction_version=99)

    asyncio.run(run())


def test_idempotent_producer_stores_each_batch_once(kafka: str, prefix: str) -> None:
    async def run() -> None:
        async with stand(kafka, prefix) as at:
            producer = IdempotentProducer(at.client, at.topic, call_timeout_s=10)
            await producer.open()
            batch = at.produced(b"once")[0]
            await producer.produce([batch])
            producer._sequences.clear()  # pyright: ignore[reportPrivateUsage]  # as if its answer was lost
            await producer.produce([batch])
            await producer.produce(at.produced(b"then"))
            assert await at.visible() == [b"once", b"then"]
            await producer.close()

    asyncio.run(run())
