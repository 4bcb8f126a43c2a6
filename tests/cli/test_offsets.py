"""`chimera offsets` on a real broker: lanes that halt, and the commands that resume them."""

# pyright: reportPrivateImportUsage=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# (confluent-kafka's types leave the futures of its admin client open)

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from chimera.cli.offsets.positions import Desk, Position, opened
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.settings import Settings
from chimera.topics.producers import Committed
from tests.cli.places import Place, image


def requests_topic(place: Place) -> str:
    return f"{place.prefix}inference.requests"


def publish(
    place: Place,
    count: int,
    topic: str = "inference.requests",
    headers: list[tuple[str, str | bytes | None]] | None = None,
) -> None:
    """Requests to partition 0."""
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": image(1)}
    value = json.dumps({"model_name": "digits", "inputs": [tensor]})
    producer = Producer({"bootstrap.servers": place.bootstrap})
    for _ in range(count):
        producer.produce(f"{place.prefix}{topic}", value, partition=0, headers=headers or [])
    assert producer.flush(10) == 0


def results(place: Place) -> int:
    """How many there are in partition 0, read committed."""
    consumer = Consumer(
        {
            "bootstrap.servers": place.bootstrap,
            "group.id": "unused",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(f"{place.prefix}inference.results", 0, 0)])
    count = 0
    while True:
        message = consumer.poll(10)
        assert message is not None
        if message.error():
            break
        count += 1
    consumer.close()
    return count


def eventually(claim: Callable[[], bool], within_s: float = 30) -> None:
    until = time.monotonic() + within_s
    while not claim():
        assert time.monotonic() < until
        time.sleep(0.1)


def answered_by_a_node(place: Place, count: int) -> None:
    node = place.node()
    try:
        eventually(lambda: results(place) >= count)
    finally:
        assert node.stop(30) == 0


def admin(place: Place, method: str, *arguments: Any) -> None:
    client = AdminClient({"bootstrap.servers": place.bootstrap})
    for future in getattr(client, method)(*arguments).values():
        future.result(10)


def lane(place: Place, *fields: str) -> tuple[Any, ...]:
    """Those fields of partition 0 of the requests, as `list` shows it."""
    done = place.run("offsets", "list", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    first = next(
        one for one in found if (one["topic"], one["partition"]) == (requests_topic(place), 0)
    )
    return tuple(first[field] for field in fields)


def move(place: Place, offset: int, *more: str, text: str | None = None) -> tuple[int, str]:
    done = place.run("offsets", "set", requests_topic(place), "0", str(offset), *more, text=text)
    return done.returncode, done.stdout + done.stderr


def halted(place: Place) -> bool:
    """Waits by the node's log, and asks the command once."""
    eventually(lambda: "lane_halted" in (place.folder / "node.log").read_text())
    return "halted: see `chimera offsets list`" in place.run("watch", "--once").stdout


def test_lane_whose_offsets_were_lost_is_restored_after_the_last_answer(place: Place) -> None:
    publish(place, 6)
    answered_by_a_node(place, 6)
    assert lane(place, "committed", "answered", "trouble") == (6, 5, "")
    admin(place, "delete_consumer_groups", [place.environment["CHIMERA_KAFKA__GROUP"]])
    publish(place, 1)
    assert lane(place, "trouble") == ("no offset, but 5 is answered",)
    node = place.node()
    try:
        assert halted(place)
    finally:
        assert node.stop(30) == 0
    restored = place.run("offsets", "restore", requests_topic(place), "--yes")
    assert restored.returncode == 0, restored.stderr
    assert f"{requests_topic(place)}-0: nothing -> 6" in restored.stdout
    assert lane(place, "committed", "trouble") == (6, "")
    answered_by_a_node(place, 7)
    assert results(place) == 7


def test_lane_that_retention_overtook_goes_on_where_it_is_told(place: Place) -> None:
    publish(place, 4)
    assert move(place, 1, "--yes")[0] == 0
    admin(place, "delete_records", [TopicPartition(requests_topic(place), 0, 3)])
    assert "removed by retention" in lane(place, "trouble")[0]
    code, told = move(place, 3, "--yes")
    assert code == 0, told
    assert lane(place, "committed", "trouble") == (3, "")
    answered_by_a_node(place, 1)


def test_lane_of_a_topic_that_was_made_anew_takes_its_new_id(place: Place) -> None:
    publish(place, 2)
    group = place.environment["CHIMERA_KAFKA__GROUP"]
    consumer = Consumer({"bootstrap.servers": place.bootstrap, "group.id": group})
    earlier = TopicPartition(requests_topic(place), 0, 2, "AnotherTopicsIdAAAAAAA")
    consumer.commit(offsets=[earlier], asynchronous=False)
    consumer.close()
    assert "made anew" in lane(place, "trouble")[0]
    assert move(place, 0, "--yes")[0] == 0
    committed_id, topic_id, trouble = lane(place, "committed_topic_id", "topic_id", "trouble")
    assert committed_id == topic_id
    assert trouble == ""


def test_request_that_waits_on_a_retry_topic_is_not_asked_again(place: Place) -> None:
    publish(place, 3)
    answered_by_a_node(place, 3)
    headers = {"topic": requests_topic(place), "partition": "0", "offset": "4"}
    publish(
        place,
        1,
        topic="inference.requests.retry.5s",
        headers=[(f"chimera-orig-{name}", text.encode()) for name, text in headers.items()],
    )
    publish(place, 3)
    restored = place.run("offsets", "restore", requests_topic(place), "0", "--yes")
    assert f"{requests_topic(place)}-0: 3 -> 5" in restored.stdout


def test_set_is_refused_while_a_node_runs(served: Place) -> None:
    code, told = move(served, 0, "--yes")
    assert code == 1
    assert "1 node of group served still run" in told


def test_broker_refuses_an_offset_when_a_node_joined_meanwhile(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.model_validate(
        {
            "kafka": {
                "group": place.environment["CHIMERA_KAFKA__GROUP"],
                "topic_prefix": place.prefix,
                "partitions": 2,
            }
        }
    )

    async def nobody(_: Desk) -> None:
        """As the look before the node joined would tell."""

    async def move() -> None:
        async with opened(settings, place.bootstrap) as desk:
            await desk.move((await desk.positions())[0], 0)

    monkeypatch.setattr(Desk, "require_nobody", nobody)
    node = place.node()
    try:
        with pytest.raises(ConfigurationError, match="a node has joined meanwhile"):
            asyncio.run(move())
    finally:
        node.stop(30)
    assert lane(place, "committed") == (None,)


def test_set_asks_and_takes_no_for_an_answer(place: Place) -> None:
    publish(place, 2)
    code, told = move(place, 1, text="n\n")
    assert code == 1
    assert "requests 0 to 0 are passed over" in told
    assert lane(place, "committed") == (None,)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("set", "{requests}", "0", "9", "--yes"), "offset 9 is not in"),
        (("set", "{requests}", "7", "0", "--yes"), "is no input partition"),
        (("restore", "{requests}", "0", "--yes"), "no result tells where"),
        (("restore", "elsewhere", "--yes"), "elsewhere is no input partition"),
    ],
)
def test_command_that_cannot_be_done_says_why(
    place: Place, arguments: tuple[str, ...], told: str
) -> None:
    given = [argument.format(requests=requests_topic(place)) for argument in arguments]
    done = place.run("offsets", *given)
    assert done.returncode == 1
    assert told in done.stderr


def test_list_is_a_table_for_people(place: Place) -> None:
    done = place.run("offsets", "list")
    assert done.returncode == 0, done.stderr
    assert "a lane would" in done.stdout
    assert f"{requests_topic(place)}.retry.5s" in done.stdout


@pytest.mark.parametrize(
    ("committed", "lag"),
    [(None, 7), (Committed(5), 5), (Committed(0), 7), (Committed(10), 0), (Committed(12), 0)],
)
def test_lag_is_what_can_be_read_and_is_not_committed(
    committed: Committed | None, lag: int
) -> None:
    assert Position("t", 0, "id", 3, 10, committed).lag == lag


@pytest.mark.parametrize(
    ("answered", "moved", "expected"), [(None, None, None), (4, None, 5), (4, 9, 10), (None, 0, 1)]
)
def test_restored_is_after_the_last_decided(
    answered: int | None, moved: int | None, expected: int | None
) -> None:
    position = Position("t", 0, "id", 0, 99, None, answered, moved)
    assert position.restored == expected
