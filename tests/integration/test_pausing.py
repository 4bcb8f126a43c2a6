"""A paused model, on real nodes: its requests wait, whoever has them, and each is answered once."""

import time
from dataclasses import replace
from functools import partial

import pytest

from tests.cli.places import Place
from tests.integration.registry import Registry
from tests.integration.traffic import PARTITIONS, Traffic, page
from tests.waiting import until

PAUSED, OTHER = PARTITIONS
POLL_INTERVAL_MS = 1_500


@pytest.mark.timeout(400)
def test_paused_requests_wait_are_handed_over_and_answered_by_the_version_that_is_resumed(
    registry: tuple[Place, Registry],
) -> None:
    place, controller = registry
    one, two, other = (
        controller.compile("1"),
        controller.compile("2"),
        controller.compile("1", model="other"),
    )
    controller.publish(other, model="other")
    controller.publish(one)
    traffic = Traffic(place)
    node = place.node()
    try:
        traffic.send("digits", PAUSED, 3, "before")
        until(lambda: traffic.answered("before") == ["1"] * 3)
        controller.publish(one, paused=True)
        until(lambda: page(place).paused == {"digits"})
        soon_ms = int(time.time() * 1000) + 1_000
        traffic.send("digits", PAUSED, 5, "late", deadline_ms=soon_ms)
        traffic.send("digits", PAUSED, 300, "paused")
        traffic.send("other", OTHER, 300, "other")
        until(lambda: traffic.answered("other") == ["1"] * 300)
        until(lambda: traffic.answered("late") == ["deadline_exceeded"] * 5)
        until(lambda: page(place).deferred.total() == 300)
        assert node.stop(30) == 0, "whoever comes next has them to answer"
        node = place.node()
        until(lambda: page(place).deferred.total() == 300)
        assert page(place).paused == {"digits"} and page(place).restarts.total() == 0
        controller.publish(two, before=(one,), paused=True)
        traffic.send("digits", PAUSED, 3, "after")
        until(lambda: page(place).deferred.total() == 303)
        assert traffic.answered("paused") == traffic.answered("after") == []
        controller.publish(two, before=(one,))
        until(lambda: traffic.answered("after") == ["2"] * 3)
        assert traffic.answered("paused") == ["2"] * 300
        ids = [which for which, _ in traffic.answers if which.startswith("paused")]
        assert ids == [f"paused-{number}" for number in range(300)], "in order, once each"
        assert sorted(traffic.dead) == [f"late-{number}" for number in range(5)]
        until(lambda: not page(place).paused and not page(place).deferred.total())
    finally:
        traffic.close()
        assert node.stop(30) == 0, (place.folder / "node.log").read_text()[-3000:]


@pytest.mark.timeout(300)
def test_node_whose_lanes_are_all_full_of_paused_requests_stays_in_its_group(
    registry: tuple[Place, Registry],
) -> None:
    """It reads nothing for as long as its group lets a silent member be, and longer."""
    place, controller = registry
    small = {
        "CHIMERA_FETCH__MAX_POLL_INTERVAL_MS": str(POLL_INTERVAL_MS),
        "CHIMERA_SERVING__WINDOW_RECORDS": "64",
        "CHIMERA_SERVING__RETRY_DELAYS_MS": "[]",
    }
    place = replace(place, environment={**place.environment, **small})
    version = controller.compile("1")
    controller.publish(version, paused=True)
    traffic = Traffic(place)
    node = place.node()
    try:
        for partition in PARTITIONS:
            traffic.send("digits", partition, 300, f"full{partition}")
        until(lambda: page(place).deferred.total() >= 2 * 64)
        time.sleep(2 * POLL_INTERVAL_MS / 1000)  # for longer than its group lets it
        controller.publish(version)
        for partition in PARTITIONS:
            until(partial(are_answered, traffic, f"full{partition}"))
    finally:
        traffic.close()
        assert node.stop(30) == 0, (place.folder / "node.log").read_text()[-3000:]


def are_answered(traffic: Traffic, name: str) -> bool:
    return traffic.answered(name) == ["1"] * 300
