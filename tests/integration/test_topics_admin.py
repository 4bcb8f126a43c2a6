"""Topic administration against a real broker; what it did is read back by an independent client."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (neither aiokafka nor confluent-kafka ships complete type information)

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import confluent_kafka
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import MessageSizeTooLargeError
from confluent_kafka import admin as confluent_admin

from chimera.schemas.errors import KafkaUnavailable
from chimera.schemas.server_settings import KafkaSettings
from chimera.schemas.settings import Settings
from chimera.topics import admin, clients
from chimera.topics.catalogue import Catalogue, catalogue
from chimera.topics.dead_letters import Copy, Failure, Origin, dead_letter
from chimera.topics.differences import Difference
from tests.waiting import until

T = TypeVar("T")

confluent: Any = confluent_admin  # it re-exports its names without saying so


def topics(prefix: str, **kafka: Any) -> Catalogue:
    return catalogue(Settings.model_validate({"kafka": {"topic_prefix": prefix, **kafka}}))


def with_client(kafka: str, use: Callable[[AIOKafkaClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with admin.connected(KafkaSettings(), kafka) as client:
            return await use(client)

    return asyncio.run(run())


def plan(kafka: str, wanted: Catalogue) -> list[Difference]:
    return with_client(kafka, lambda client: admin.plan(client, wanted))


def sync(kafka: str, wanted: Catalogue) -> list[Difference]:
    async def use(client: AIOKafkaClient) -> list[Difference]:
        return await admin.apply(client, wanted, await admin.plan(client, wanted))

    return with_client(kafka, use)


def inspect(kafka: str, method: str, *arguments: Any) -> Any:
    """Ask through another client, which lives until its answers are there."""
    client = confluent.AdminClient({"bootstrap.servers": kafka})
    (found,) = getattr(client, method)(*arguments).values()
    return found.result(10)


def partitions(kafka: str) -> dict[str, int]:
    found = confluent.AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).topics
    return {name: len(topic.partitions) for name, topic in found.items()}


def config(kafka: str, topic: str) -> dict[str, Any]:
    resource = confluent.ConfigResource(confluent.ResourceType.TOPIC, topic)
    found = inspect(kafka, "describe_configs", [resource])
    return {name: entry.value for name, entry in found.items()}


def configure(kafka: str, topic: str, name: str, value: str) -> None:
    entry = confluent.ConfigEntry(
        name, value, incremental_operation=confluent.AlterConfigOpType.SET
    )
    resource = confluent.ConfigResource(
        confluent.ResourceType.TOPIC, topic, incremental_configs=[entry]
    )
    inspect(kafka, "incremental_alter_configs", [resource])
    until(lambda: config(kafka, topic)[name] == value)


def test_plan_of_a_broker_without_our_topics_creates_none(kafka: str, prefix: str) -> None:
    wanted = topics(prefix)
    assert {one.remedy for one in plan(kafka, wanted)} == {"create"}
    assert len(plan(kafka, wanted)) == len(list(wanted))
    assert not [name for name in partitions(kafka) if name.startswith(prefix)]


def test_apply_creates_the_catalogue_and_a_second_plan_is_empty(kafka: str, prefix: str) -> None:
    wanted = topics(prefix, partitions=3)
    assert sync(kafka, wanted) == []
    assert plan(kafka, wanted) == []
    there = {name: n for name, n in partitions(kafka).items() if name.startswith(prefix)}
    assert there == {topic.name: topic.partitions for topic in wanted}
    for topic in (wanted.requests, wanted.attempts, wanted.audit_log):
        assert topic.config.items() <= config(kafka, topic.name).items()


def test_apply_twice_at_once_is_no_error(kafka: str, prefix: str) -> None:
    wanted = topics(prefix, partitions=1)

    async def use(client: AIOKafkaClient) -> None:
        planned = await admin.plan(client, wanted)
        both = await asyncio.gather(*(admin.apply(client, wanted, planned) for _ in range(2)))
        assert both == [[], []]

    with_client(kafka, use)


def test_apply_sets_what_differs_and_leaves_the_rest_alone(kafka: str, prefix: str) -> None:
    wanted = topics(prefix, partitions=1)
    sync(kafka, wanted)
    name = wanted.requests.name
    configure(kafka, name, "message.timestamp.type", "CreateTime")
    configure(kafka, name, "segment.bytes", "2097152")
    (found,) = plan(kafka, wanted)
    assert (found.what, found.found, found.remedy) == (
        "message.timestamp.type",
        "CreateTime",
        "configure",
    )
    assert sync(kafka, wanted) == []
    assert config(kafka, name)["message.timestamp.type"] == "LogAppendTime"
    assert config(kafka, name)["segment.bytes"] == "2097152"


def test_apply_adds_partitions_and_never_takes_any(kafka: str, prefix: str) -> None:
    sync(kafka, topics(prefix, partitions=2))
    more = topics(prefix, partitions=3)
    assert sync(kafka, more) == []
    assert partitions(kafka)[more.results.name] == 3
    left = sync(kafka, topics(prefix, partitions=1))
    assert {one.remedy for one in left} == {None}
    assert partitions(kafka)[more.results.name] == 3


def test_apply_makes_partner_topics_equal_when_an_operator_added_partitions(
    kafka: str, prefix: str
) -> None:
    wanted = topics(prefix, partitions=2)
    sync(kafka, wanted)
    inspect(kafka, "create_partitions", [confluent.NewPartitions(wanted.requests.name, 4)])
    until(lambda: partitions(kafka)[wanted.requests.name] == 4)
    left = sync(kafka, wanted)
    assert left and all("CHIMERA_KAFKA__PARTITIONS=4" in one.advice for one in left)
    there = partitions(kafka)
    assert {there[topic.name] for topic in wanted.paired} == {4}


def test_apply_what_the_broker_refuses_is_told_with_its_reason(kafka: str, prefix: str) -> None:
    with pytest.raises(KafkaUnavailable, match=r"(?s)inference\..*replication"):
        sync(kafka, topics(prefix, replication=2))


def test_topic_ids_change_when_a_topic_is_made_again(kafka: str, prefix: str) -> None:
    wanted = topics(prefix, partitions=1)
    sync(kafka, wanted)
    names = [wanted.requests.name, wanted.results.name, f"{prefix}absent"]
    before = with_client(kafka, lambda client: admin.topic_ids(client, names))
    assert set(before) == set(names[:2])
    inspect(kafka, "delete_topics", names[:1])
    until(lambda: wanted.requests.name not in partitions(kafka))
    sync(kafka, wanted)
    after = with_client(kafka, lambda client: admin.topic_ids(client, names))
    assert after[names[0]] != before[names[0]]
    assert after[names[1]] == before[names[1]]


def test_topic_ids_are_those_that_other_tools_show(kafka: str, prefix: str) -> None:
    wanted = topics(prefix, partitions=1)
    sync(kafka, wanted)
    name = wanted.results.name
    found = with_client(kafka, lambda client: admin.topic_ids(client, [name]))
    described = inspect(kafka, "describe_topics", confluent_kafka.TopicCollection([name]))
    shown = str(described.topic_id).translate(str.maketrans("+/", "-_"))  # as Java's tools do
    assert found == {name: shown}


def test_requests_one_byte_over_the_limit_arrive_and_their_dead_letters_fit(
    kafka: str, prefix: str
) -> None:
    settings = Settings.model_validate({"serving": {"max_request_bytes": 100_000}})
    limit = settings.serving.max_request_bytes
    wanted = catalogue(
        settings.model_copy(update={"kafka": KafkaSettings(topic_prefix=prefix, partitions=1)})
    )
    sync(kafka, wanted)
    value, key = bytes(limit + 1), bytes(16_000)
    headers: list[tuple[str, bytes]] = [("h", bytes(16_000))]
    failure = Failure("too_large", "ü" * 9_000, 1, 1)

    async def produce() -> tuple[int, Any]:
        common = clients.arguments(KafkaSettings(), kafka)
        reading = clients.consumer_arguments(KafkaSettings(), kafka)
        async with (
            AIOKafkaProducer(**common, max_request_size=2_000_000) as producer,
            AIOKafkaConsumer(**reading, auto_offset_reset="earliest") as consumer,
        ):
            sent = await producer.send_and_wait(
                wanted.requests.name, value, key=key, headers=headers
            )
            with pytest.raises(MessageSizeTooLargeError):
                await producer.send_and_wait(wanted.requests.name, bytes(limit + 40_000))
            original = Copy(key, value, list(headers))
            origin = Origin(wanted.requests.name, 0, sent.offset, sent.timestamp)
            topic = wanted.dead_letters
            letter = dead_letter(original, origin, failure, topic.max_message_bytes)
            assert letter.value == value
            await producer.send_and_wait(
                topic.name, letter.value, key=letter.key, headers=letter.headers
            )
            consumer.assign([TopicPartition(topic.name, 0)])
            record = await asyncio.wait_for(consumer.getone(), 10)
            return sent.timestamp_type, record

    timestamp_type, record = asyncio.run(produce())
    assert timestamp_type == 1, "the broker stamps records as it appends them"
    assert (record.key, record.value) == (key, value)
    assert record.headers[0] == headers[0]


def test_connected_where_nobody_listens_says_where(free_port: int) -> None:
    async def use(client: AIOKafkaClient) -> None:
        raise AssertionError("connected to nobody")

    address = f"127.0.0.1:{free_port}"
    with pytest.raises(KafkaUnavailable, match=f"no broker answers at {address}"):
        with_client(address, use)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
