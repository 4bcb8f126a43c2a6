"""Partitions that an operator adds to the requests alone: their lanes halt, the others serve, `sync` opens them."""

# pyright: reportMissingTypeStubs=false
# (aiokafka ships no type information)

import asyncio
import json
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from chimera.agents.lanes.attempts import Attempts
from tests.cli.places import Place, make_place
from tests.integration.topics import new_topic
from tests.integration.traffic import Traffic
from tests.waiting import until

ADDED = 2


async def add_partitions(bootstrap: str, topic: str, count: int) -> None:
    """As `kafka-topics --alter` does; the topic has that many when it returns, each with a leader."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_partitions({topic: NewPartitions(count)})
        async with asyncio.timeout(60):
            while await led(admin, topic) < count:  # noqa: ASYNC110  # nothing announces it
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def led(admin: AIOKafkaAdminClient, topic: str) -> int:
    """How many of its partitions have a leader."""
    (found,) = await admin.describe_topics([topic])
    return sum(one["leader"] >= 0 for one in found["partitions"])


def halts(place: Place) -> list[str]:
    """What the node said of each lane that halted."""
    lines = (place.folder / "node.log").read_text().splitlines()
    return [line for line in lines if "lane_halted" in line]


def troubles(place: Place) -> dict[tuple[str, int], str]:
    done = place.run("offsets", "list", "--json")
    assert done.returncode == 0, done.stderr
    return {(one["topic"], one["partition"]): one["trouble"] for one in json.loads(done.stdout)}


@pytest.mark.timeout(240)
def test_lane_of_an_added_partition_halts_until_its_partners_have_it_and_then_opens(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    place = make_place(kafka, tmp_path, prefix.rstrip("."))
    requests = f"{prefix}inference.requests"
    asyncio.run(add_partitions(kafka, requests, ADDED + 1))
    traffic = Traffic(place)
    for _ in range(3):  # one at a time: a new partition may lose one of two batches (KAFKA-15591)
        traffic.send("digits", ADDED, 1, "early")
    node = place.node()
    try:
        until(lambda: len(halts(place)) == 1)
        assert f"no partition {ADDED} of" in halts(place)[0]
        assert f"{prefix}inference.results" in halts(place)[0]
        assert "chimera topics sync --apply" in halts(place)[0]
        assert f"{prefix}inference.attempts" in troubles(place)[requests, ADDED]
        traffic.send("digits", 0, 5, "beside")
        until(lambda: traffic.answered("beside") == ["1"] * 5)
        more = {"CHIMERA_KAFKA__PARTITIONS": str(ADDED + 1)}
        synced = place.run("topics", "sync", "--apply", settings=more)
        assert synced.returncode == 0, synced.stdout + synced.stderr
        added = Traffic(place, partitions=(ADDED,))
        until(lambda: added.answered("early") == ["1"] * 3)
        added.close()
        assert len(halts(place)) == 1
        assert not any(troubles(place).values())
    finally:
        traffic.close()
        assert node.stop(30) == 0, (place.folder / "node.log").read_text()[-3000:]


def test_deaths_are_written_down_also_in_a_partition_that_is_new(kafka: str, prefix: str) -> None:
    async def run() -> dict[int, int]:
        topic = await new_topic(kafka, f"{prefix}attempts")
        attempts = Attempts(topic, {"bootstrap_servers": kafka})
        await attempts.start()
        try:
            await attempts.record("requests", 0, {7: 1}, "crashed")
            await add_partitions(kafka, topic, 2)
            await attempts.record("requests", 1, {8: 2}, "crashed")
            return await attempts.load("requests", 1, 0)
        finally:
            await attempts.stop()

    assert asyncio.run(run()) == {8: 2}
