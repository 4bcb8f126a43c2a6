"""What is decided of a retry topic, on a real broker: also where outcomes came in another order."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (aiokafka ships no type information)

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from confluent_kafka import Producer

from chimera.agents.lanes import history
from chimera.agents.lanes.history import Decided, History
from chimera.schemas import headers as names
from chimera.schemas.settings import Settings
from chimera.topics import clients
from chimera.topics.catalogue import Catalogue, catalogue
from chimera.topics.dead_letters import Copy, Failure, Origin, Story, retry
from tests.cli.places import make_topics

Headers = list[tuple[str, str | bytes | None]]


class Written:
    """Topics with three partitions, and records in them."""

    def __init__(self, kafka: str, prefix: str) -> None:
        own = {"bootstrap": kafka, "topic_prefix": prefix, "partitions": 3}
        self.settings = Settings.model_validate({"kafka": own})
        self.topics: Catalogue = catalogue(self.settings)
        make_topics(kafka, prefix, partitions=3)
        self._producer = Producer({"bootstrap.servers": kafka})

    def moved(self, rung: int, partition: int, *offsets: int) -> None:
        """To a retry topic: requests by their offsets."""
        for offset in offsets:
            origin = Origin(self.topics.requests.name, partition, offset, 1)
            story = Story(origin, Failure("model_error", "none", 1, 1), 1)
            headers: Headers = [*retry(Copy(None, b"", []), story).headers]
            self._write(self.topics.retries[rung].name, partition, headers)

    def answered(self, partition: int, *offsets: int) -> None:
        for offset in offsets:
            headers: Headers = [
                (names.REQUEST_TOPIC, self.topics.requests.name.encode()),
                (names.REQUEST_PARTITION, b"%d" % partition),
                (names.REQUEST_OFFSET, b"%d" % offset),
            ]
            self._write(self.topics.results.name, partition, headers)

    def _write(self, topic: str, partition: int, headers: Headers) -> None:
        self._producer.produce(topic, b"{}", partition=partition, headers=headers)

    @asynccontextmanager
    async def read(self, rung: int, partition: int) -> AsyncGenerator[History]:
        assert self._producer.flush(10) == 0
        arguments = clients.consumer_arguments(self.settings.kafka)
        consumer = AIOKafkaConsumer(**arguments, fetch_max_wait_ms=20)
        await consumer.start()
        try:
            where = TopicPartition(self.topics.retries[rung].name, partition)
            yield History(consumer, self.topics, where)
        finally:
            await consumer.stop()

    async def remove(self, topic: str, partition: int, before: int) -> None:
        """As retention would."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.kafka.bootstrap or "")
        await admin.start()
        try:
            where = TopicPartition(topic, partition)
            await admin.delete_records({where: RecordsToDelete(before_offset=before)})
        finally:
            await admin.close()


async def decided(written: Written, partitions: Sequence[int], rung: int = 0) -> list[Decided]:
    found: list[Decided] = []
    for number in partitions:
        async with written.read(rung, number) as told:
            found.append(await told.decided())
    return found


def test_last_decided_is_found_however_late_an_earlier_one_got_its_outcome(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "FIRST_STEP", 2)
    written = Written(kafka, prefix)
    for partition in (0, 1):
        written.moved(0, partition, 10, 20, 30, 40, 50)
    written.moved(1, 0, 20)  # at once a step higher, where it is answered last of all
    written.answered(0, 10, 30, *range(60, 90), 20, 91)
    written.answered(1, *range(60, 70))  # nobody's of these
    written.answered(2, 10)
    first = Decided(answered=2, moved=1)
    assert asyncio.run(decided(written, (0, 1, 2))) == [first, Decided(), Decided()]
    assert asyncio.run(decided(written, (0,), rung=1)) == [Decided(answered=0)]


def test_history_is_brief_while_all_of_it_is_there_and_not_much(kafka: str, prefix: str) -> None:
    written = Written(kafka, prefix)
    written.moved(0, 0, 1, 2, 3)
    written.answered(0, 1, 2, 3, 4)

    async def brief(records: int) -> bool:
        async with written.read(0, 0) as told:
            return await told.is_brief(records)

    assert [asyncio.run(brief(records)) for records in (2, 3, 4)] == [False, False, True]
    asyncio.run(written.remove(written.topics.results.name, 0, 1))
    assert not asyncio.run(brief(4))
