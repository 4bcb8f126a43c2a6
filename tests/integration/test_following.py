"""A node that follows `models.state`: versions come, share, and go back, and no request is lost."""

import asyncio
import re
import signal
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from chimera.schemas.model_events import VersionRefused
from chimera.schemas.model_state import LiveVersion
from chimera.topics.catalogue import catalogue
from tests.agents.controlling.stage import events, settings_of
from tests.cli.places import Place
from tests.integration.registry import Registry
from tests.integration.traffic import PARTITIONS, Traffic, page
from tests.waiting import until

AGAIN = {"CHIMERA_SERVING__REFUSED_AGAIN_MS": "500"}


def broken_file(controller: Registry, version: LiveVersion) -> Path:
    """What nodes find where the version's tier should be."""
    file = controller.placed(version)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"a disk that is full")
    return file


def versions_in_memory(place: Place) -> set[str]:
    port = place.environment["CHIMERA_OBSERVABILITY__METRICS_PORT"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        said = answer.read().decode()
    return set(re.findall(r'chimera_model_memory_bytes\{model="digits",version="(.+?)"\}', said))


def test_node_serves_what_the_topic_says_and_follows_its_changes(
    registry: tuple[Place, Registry],
) -> None:
    place, controller = registry
    one, two, bad = (
        controller.compile("1"),
        controller.compile("2"),
        controller.compile("3", spoilt=True),
    )
    controller.publish(one)
    log = place.folder / "node.log"
    traffic = Traffic(place)
    node = place.node()
    try:
        assert traffic.version() == "1"
        controller.publish(two, before=(one,))
        until(lambda: traffic.version() == "2")
        controller.publish(bad, before=(two,))
        until(lambda: "version_refused" in log.read_text())
        assert traffic.version() == "2"
        controller.publish(one, before=(two,))
        until(lambda: traffic.version() == "1")
        started = log.read_text().count("executor_started")
        controller.publish(two, before=(one,))
        until(lambda: traffic.version() == "2")
        assert log.read_text().count("executor_started") == started, "a rollback is only a word"
        until(lambda: versions_in_memory(place) == {"1", "2"})
        refused = log.read_text().count("version_refused")
        controller.publish(one, shadow=bad)
        until(lambda: log.read_text().count("version_refused") > refused)
        until(lambda: traffic.version() == "1")
    finally:
        traffic.close()
        assert node.stop(30) == 0


def stopped_successor(node: psutil.Process, known: set[int]) -> psutil.Process:
    """The executor that the node starts next, stopped before it can have loaded anything.

    Not before it is a program of its own: until then all of the node waits for it (`vfork`).
    """
    nodes_own = node.cmdline()
    while True:
        for child in node.children():
            if child.pid not in known and child.cmdline() not in ([], nodes_own):
                child.send_signal(signal.SIGSTOP)
                return child
        time.sleep(0.002)


@pytest.mark.timeout(300)
def test_rollback_is_visible_while_another_version_loads(registry: tuple[Place, Registry]) -> None:
    place, controller = registry
    one, two = controller.compile("1"), controller.compile("2")
    other, late = controller.compile("1", model="other"), controller.compile("2", model="other")
    controller.publish(two, before=(one,))
    controller.publish(other, model="other")
    traffic = Traffic(place)
    node = place.node()
    process, log = psutil.Process(node.pid), place.folder / "node.log"
    try:
        assert (traffic.version(), traffic.version("other")) == ("2", "1")
        executors = {child.pid for child in process.children()}
        started = log.read_text().count("executor_started")

        def are_loading() -> bool:
            return log.read_text().count("executor_started") == started and slow.is_running()

        controller.publish(late, before=(other,), model="other")
        slow = stopped_successor(process, executors)
        controller.publish(one, before=(two,))
        until(lambda: traffic.version() == "1")
        controller.publish(two, before=(one,))
        until(lambda: page(place).revisions["digits"] == 5)
        assert traffic.version() == "2" and traffic.version("other") == "1"
        assert are_loading(), "nobody waited for it"
        controller.publish(other, model="other")
        until(lambda: not slow.is_running())
        assert log.read_text().count("executor_started") == started, "it was given up"
        controller.publish(late, before=(other,), model="other")
        until(lambda: traffic.version("other") == "2")
        assert page(place).restarts.total() == 0
    finally:
        traffic.close()
        assert node.stop(30) == 0, log.read_text()[-3000:]


@pytest.mark.timeout(300)
def test_version_that_executors_refused_is_tried_again_and_that_is_told(
    registry: tuple[Place, Registry],
) -> None:
    place, controller = registry
    place = replace(place, environment={**place.environment, **AGAIN})
    one, two = controller.compile("1"), controller.compile("2")
    broken = broken_file(controller, two)
    controller.publish(one)
    traffic = Traffic(place)
    node = place.node()
    try:
        controller.publish(two, before=(one,))
        until(lambda: page(place).refused["digits/2"] >= 2)
        assert traffic.version() == "1", "it goes on as it was"
        broken.unlink()
        until(lambda: traffic.version() == "2")
        topics = catalogue(settings_of(place.bootstrap, place.prefix, place.folder))
        told = asyncio.run(events(place.bootstrap, topics))
        refused = [one for one in told if isinstance(one, VersionRefused)]
        assert [one.tries for one in refused] == list(range(1, len(refused) + 1))
        assert {(one.model, one.version, one.revision) for one in refused} == {("digits", "2", 2)}
    finally:
        traffic.close()
        assert node.stop(30) == 0, (place.folder / "node.log").read_text()[-3000:]


@pytest.mark.timeout(300)
def test_version_that_was_refused_at_the_start_is_tried_again(
    registry: tuple[Place, Registry],
) -> None:
    place, controller = registry
    place = replace(place, environment={**place.environment, **AGAIN})
    one = controller.compile("1")
    broken = broken_file(controller, one)
    controller.publish(one)
    traffic = Traffic(place)
    node = place.node()
    try:
        traffic.send("digits", PARTITIONS[0], 3, "early")
        until(lambda: page(place).refused["digits/1"] >= 2)
        broken.unlink()
        until(lambda: traffic.answered("early") == ["1"] * 3)
    finally:
        traffic.close()
        assert node.stop(30) == 0, (place.folder / "node.log").read_text()[-3000:]


@pytest.mark.timeout(300)
def test_version_without_room_is_refused_and_its_requests_wait_for_a_node_that_has_it(
    registry: tuple[Place, Registry],
) -> None:
    place, controller = registry
    little = {**AGAIN, "CHIMERA_SERVING__MODEL_MEMORY_BYTES": str(1 << 20)}
    controller.publish(controller.compile("1"))
    traffic = Traffic(place)
    node = replace(place, environment={**place.environment, **little}).node()
    try:
        traffic.send("digits", PARTITIONS[0], 3, "early")
        until(lambda: page(place).refused["digits/1"] >= 3)
        assert "CHIMERA_SERVING__MODEL_MEMORY_BYTES" in (place.folder / "node.log").read_text()
        assert traffic.answered("early") == [] and versions_in_memory(place) == set()
        assert node.stop(30) == 0
        node = place.node()
        until(lambda: traffic.answered("early") == ["1"] * 3)
    finally:
        traffic.close()
        assert node.stop(30) == 0, (place.folder / "node.log").read_text()[-3000:]
