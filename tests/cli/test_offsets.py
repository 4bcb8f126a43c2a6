"""`chimera offsets` on a real broker: lanes that halt, and the commands that resume them."""

# pyright: reportPrivateImportUsage=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# (confluent-kafka's types leave the futures of its admin client open)

import asyncio
import dataclasses
import json
import socket
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from chimera.cli.models.actor import actor
from chimera.cli.offsets.position import Position
from chimera.cli.offsets.positions import Desk, opened
from chimera.cli.stack.stack import sync_topics
from chimera.schemas.control_actions import LANE_HALTED, OFFSETS_SET
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.settings import Settings
from chimera.schemas.transparency.leaves import ActionTaken
from chimera.topics.dead_letters import Copy, Failure, Origin, Story, retry
from chimera.topics.producers import Committed
from chimera.workers.models import write_model
from tests.cli import letters
from tests.cli.places import FAULT, MANIFEST, Place, digits_model, image
from tests.waiting import until

RETRY = "inference.requests.retry"


def requests_topic(place: Place) -> str:
    return f"{place.prefix}inference.requests"


def publish(
    place: Place,
    count: int,
    topic: str = "inference.requests",
    headers: list[tuple[str, str | bytes | None]] | None = None,
    partition: int = 0,
    pixel: float = 0,
) -> None:
    """Requests; the last pixel is that one."""
    data = [*image(1)[:-1], pixel]
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": data}
    value = json.dumps({"model_name": "digits", "inputs": [tensor]})
    producer = Producer({"bootstrap.servers": place.bootstrap})
    for _ in range(count):
        producer.produce(
            f"{place.prefix}{topic}", value, partition=partition, headers=headers or []
        )
    assert producer.flush(10) == 0


def results(place: Place, topic: str = "inference.results") -> int:
    """How many there are in partition 0, read committed; or records of another topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": place.bootstrap,
            "group.id": "unused",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(f"{place.prefix}{topic}", 0, 0)])
    count = 0
    while True:
        message = consumer.poll(10)
        assert message is not None
        if message.error():
            break
        count += 1
    consumer.close()
    return count


def answered_by_a_node(place: Place, count: int) -> None:
    node = place.node()
    try:
        until(lambda: results(place) >= count)
    finally:
        assert node.stop(30) == 0


def admin(place: Place, method: str, *arguments: Any) -> None:
    client = AdminClient({"bootstrap.servers": place.bootstrap})
    for future in getattr(client, method)(*arguments).values():
        future.result(10)


def lane(
    place: Place, *fields: str, topic: str = "inference.requests", partition: int = 0
) -> tuple[Any, ...]:
    """Those fields of one lane, as `list` shows it."""
    done = place.run("offsets", "list", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    where = (f"{place.prefix}{topic}", partition)
    first = next(one for one in found if (one["topic"], one["partition"]) == where)
    return tuple(first[field] for field in fields)


def move(place: Place, offset: int, *more: str, text: str | None = None) -> tuple[int, str]:
    done = place.run("offsets", "set", requests_topic(place), "0", str(offset), *more, text=text)
    return done.returncode, done.stdout + done.stderr


def halted(place: Place) -> bool:
    """Waits by the node's log, and asks the command once."""
    until(lambda: "lane_halted" in (place.folder / "node.log").read_text())
    return "halted: see `chimera offsets list`" in place.run("watch", "--once").stdout


def settings_of(place: Place) -> Settings:
    kafka = {
        "bootstrap": place.bootstrap,
        "topic_prefix": place.prefix,
        "group": place.environment["CHIMERA_KAFKA__GROUP"],
        "partitions": 2,
    }
    return Settings.model_validate({"kafka": kafka})


def told(place: Place) -> list[ActionTaken]:
    """What the audit log will know of lanes and offsets, the oldest first."""
    found = letters.actions(settings_of(place))
    ours = [one for one in found if one.action in (LANE_HALTED, OFFSETS_SET)]
    return sorted(ours, key=lambda one: one.at_ms)


def lose_offsets(place: Place) -> None:
    admin(place, "delete_consumer_groups", [place.environment["CHIMERA_KAFKA__GROUP"]])


def patient(place: Place) -> Place:
    """With a model that may fail, whose failures are tried again soon, and then late."""
    delays = [200, 60_000]
    kafka = {"topic_prefix": place.prefix, "partitions": 2}
    settings = Settings.model_validate({"kafka": kafka, "serving": {"retry_delays_ms": delays}})
    asyncio.run(sync_topics(settings, place.bootstrap, change=True))
    manifest = msgspec.structs.replace(MANIFEST, ordering="none")
    models_dir = place.folder / "patient"
    write_model(models_dir, digits_model(is_faulty=True), manifest)
    own = {
        "CHIMERA_SERVING__MODELS_DIR": str(models_dir),
        "CHIMERA_SERVING__RETRY_DELAYS_MS": json.dumps(delays),
    }
    return dataclasses.replace(place, environment={**place.environment, **own})


def test_lanes_whose_offsets_were_lost_are_restored_after_their_last_outcomes(place: Place) -> None:
    """A retry topic's, too; and while their node runs."""
    place, soon, late = patient(place), f"{RETRY}.200ms", f"{RETRY}.1m"
    publish(place, 1, pixel=FAULT)
    publish(place, 6)
    node = place.node()
    try:
        until(lambda: results(place) == 6 and results(place, late) == 1)
    finally:
        assert node.stop(30) == 0
    assert lane(place, "committed", "answered", "trouble") == (7, 6, "")
    assert lane(place, "committed", "trouble", topic=late) == (0, "")  # as it began
    lose_offsets(place)
    publish(place, 1)
    assert lane(place, "trouble") == ("no offset, but 6 is answered",)
    assert lane(place, "trouble", topic=soon) == ("no offset, but 0 is to be tried again",)
    node = place.node()
    try:
        assert halted(place)
        until(lambda: len(told(place)) == 2)
        restored = place.run("offsets", "restore", "--yes", "--reason", "lost")
        assert restored.returncode == 0, restored.stderr
        assert restored.stdout.splitlines() == [
            f"{requests_topic(place)}-0: nothing -> 7",
            f"{place.prefix}{soon}-0: nothing -> 1",
            "committed; nodes go on from there",
        ]
        until(lambda: results(place) == 7)
        until(lambda: lane(place, "committed", topic=soon) == (1,))
    finally:
        assert node.stop(30) == 0
    assert results(place, late) == 1  # it was not tried again
    assert [one.action for one in told(place)] == [LANE_HALTED] * 2 + [OFFSETS_SET] * 2


def test_lane_that_retention_overtook_goes_on_where_it_is_told_beside_its_neighbour(
    place: Place,
) -> None:
    publish(place, 4)
    assert move(place, 1, "--yes")[0] == 0
    admin(place, "delete_records", [TopicPartition(requests_topic(place), 0, 3)])
    assert "removed by retention" in lane(place, "trouble")[0]
    node = place.node()
    try:
        assert halted(place)
        publish(place, 2, partition=1)
        code, said = move(place, 4, "--yes", "--reason", "it is only one")
        assert code == 0, said
        publish(place, 1)
        until(lambda: results(place) == 1)
        until(lambda: lane(place, "committed", "trouble") == (5, ""))
        assert lane(place, "committed", partition=1) == (2,)
        assert "halted" not in place.run("watch", "--once").stdout
    finally:
        assert node.stop(30) == 0
    name, group = f"{requests_topic(place)}:0", place.environment["CHIMERA_KAFKA__GROUP"]
    first, stopped, resumed = told(place)
    assert [one.object for one in (first, stopped, resumed)] == [name] * 3
    assert first.details == {
        "group": group, "from": "", "to": "1", "passed_over.first": "0", "passed_over.end": "1"
    }  # fmt: skip
    assert (stopped.action, stopped.actor) == (LANE_HALTED, f"node@{socket.gethostname()}")
    assert "requests 1 to 2 were removed by retention" in stopped.reason
    assert stopped.details == {"group": group, "missing.first": "1", "missing.end": "3"}
    assert (resumed.actor, resumed.reason) == (actor(), "it is only one")
    assert resumed.details == {
        "group": group, "from": "1", "to": "4", "passed_over.first": "1", "passed_over.end": "4"
    }  # fmt: skip


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
    origin = Origin(requests_topic(place), 0, 4, 1)
    story = Story(origin, Failure("model_error", "none", 1, 1), 1)
    publish(place, 1, topic=f"{RETRY}.5s", headers=[*retry(Copy(None, b"", []), story).headers])
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
    settings = settings_of(place)

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


def test_lane_that_was_moved_meanwhile_is_not_moved_again(place: Place) -> None:
    """As when two are asked for it at the same time, and the second confirms when its node serves."""
    publish(place, 3)
    settings = settings_of(place)

    async def moves() -> None:
        async with opened(settings, place.bootstrap) as desk:
            position = (await desk.positions())[0]
            assert await desk.move(position, 2) == ""
            await desk.move(position, 1)

    with pytest.raises(ConfigurationError, match="was moved meanwhile"):
        asyncio.run(moves())
    assert lane(place, "committed") == (2,)


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
