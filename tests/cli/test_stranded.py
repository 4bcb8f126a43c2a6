"""A retry delay is taken out of the settings while requests wait for it: who asks is told, and so is the log."""

# pyright: reportPrivateImportUsage=false
# (confluent-kafka re-exports names without saying so)

import asyncio
import json

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from chimera.schemas.errors import KafkaUnavailable
from chimera.schemas.settings import Settings
from chimera.topics import admin, clients, stranded
from chimera.topics.catalogue import catalogue
from tests.cli.places import Place
from tests.waiting import until

WAITING = 3
DELAYS = {"CHIMERA_SERVING__RETRY_DELAYS_MS": "[5000, 7000]"}


@pytest.fixture
def topic(place: Place) -> str:
    """Of 7 s, which the place's settings do not have; each record in a transaction, as lanes write."""
    assert place.run("topics", "sync", "--apply", settings=DELAYS).returncode == 0
    name = f"{place.prefix}inference.requests.retry.7s"
    producer = Producer({"bootstrap.servers": place.bootstrap, "transactional.id": name})
    producer.init_transactions(30)
    for _ in range(WAITING):
        producer.begin_transaction()
        producer.produce(name, b"a request", partition=1)
        producer.commit_transaction(30)
    return name


def commit(place: Place, topic: str, offset: int) -> None:
    group = place.environment["CHIMERA_KAFKA__GROUP"]
    consumer = Consumer({"bootstrap.servers": place.bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 1, offset)], asynchronous=False)
    consumer.close()


def test_sync_tells_how_many_requests_wait_where_no_lane_reads(place: Place, topic: str) -> None:
    done = place.run("topics", "sync")
    assert done.returncode == 1, done.stdout
    assert f"{topic}: no lane reads it" in done.stdout and "3 requests left" in done.stdout
    assert "set CHIMERA_SERVING__RETRY_DELAYS_MS back" in done.stdout
    commit(place, topic, 3)  # after the second one: the markers of both are no requests
    assert "1 request left" in place.run("topics", "sync", "--apply").stdout


def test_of_very_many_it_is_told_that_there_are_more(place: Place, topic: str) -> None:
    producer = Producer({"bootstrap.servers": place.bootstrap})
    for number in range(stranded.MOST):
        producer.produce(topic, b"a request", partition=number % 2)
    assert producer.flush(30) == 0
    assert "10,000 requests or more left" in place.run("topics", "sync").stdout


def test_records_that_do_not_come_are_not_waited_for(
    place: Place, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.model_validate({"kafka": {"topic_prefix": place.prefix, "partitions": 2}})
    monkeypatch.setattr(stranded, "WITHIN_S", 0.0)

    async def count() -> None:
        arguments = clients.consumer_arguments(settings.kafka, place.bootstrap)
        async with admin.connected(settings.kafka, place.bootstrap) as client:
            await stranded.stranded(client, catalogue(settings), "nobody", arguments)

    with pytest.raises(KafkaUnavailable, match=f"{topic}: not read within"):
        asyncio.run(count())


def test_sync_is_content_where_all_were_answered_or_the_delay_is_back(
    place: Place, topic: str
) -> None:
    assert place.run("topics", "sync", settings=DELAYS).returncode == 0
    commit(place, topic, 5)  # behind it is the last one's marker
    assert place.run("topics", "sync").returncode == 0


def test_doctor_finds_them(place: Place, topic: str) -> None:
    done = place.run("doctor", "--json")
    assert done.returncode == 1
    (found,) = [one for one in json.loads(done.stdout)["checks"] if one["state"] == "failed"]
    assert found["check"] == "topics"
    assert found["found"].startswith(f"{topic}: ") and "3 requests" in found["found"]
    assert "RETRY_DELAYS_MS" in found["do"]


def test_node_says_so_when_it_starts(place: Place, topic: str) -> None:
    node, log = place.node(), place.folder / "node.log"
    try:
        until(lambda: "requests_stranded" in log.read_text())
        (line,) = [line for line in log.read_text().splitlines() if "requests_stranded" in line]
        assert topic in line and "requests=3" in line and "[error" in line
    finally:
        assert node.stop(30) == 0
