"""A version that fails every request, on a real node: they wait, and a rollback answers them all."""

import asyncio

import pytest

from chimera.schemas.model_events import TierChanged
from chimera.topics.catalogue import catalogue
from tests.agents.controlling.stage import events, settings_of
from tests.cli.places import FAULT, Place
from tests.integration.registry import Registry
from tests.integration.traffic import PARTITIONS, Traffic, page
from tests.waiting import until

COUNT = 6_000  # more batches than it takes to open a breaker


@pytest.mark.timeout(400)
def test_requests_of_a_version_that_fails_are_answered_by_the_one_that_a_rollback_brings_back(
    registry: tuple[Place, Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, controller = registry
    for name in ("INLINE_RETRY_MS", "DECIDE_WITHIN_MS"):  # however long the breaker takes to open
        monkeypatch.setitem(place.environment, f"CHIMERA_SERVING__{name}", "90000")
    one, bad = controller.compile("1"), controller.compile("2", is_faulty=True)
    controller.publish(one)
    traffic = Traffic(place)
    node = place.node()
    try:
        assert traffic.version() == "1"
        controller.publish(bad, before=(one,))
        until(lambda: traffic.version() == "2")
        traffic.send("digits", PARTITIONS[1], COUNT, "outage", last_pixel=FAULT)
        until(lambda: "open" in page(place).breakers.values() and page(place).deferred.total() > 0)
        assert {which[:3] for which in page(place).breakers} == {("digits", "2", "onnx-cpu")}
        controller.publish(one, before=(bad,))
        until(lambda: len(traffic.answered("outage")) == COUNT)
        assert set(traffic.answered("outage")) == {"1"}
        assert traffic.dead == []
        topics = catalogue(settings_of(place.bootstrap, place.prefix, place.folder))
        told = asyncio.run(events(place.bootstrap, topics))
        changes = [event for event in told if isinstance(event, TierChanged)]
        assert (changes[0].before, changes[0].after) == ("closed", "open")
        assert len({event.event_id for event in changes}) == len(changes)
        assert all(event.source.endswith("/cpu:0") for event in changes)
    finally:
        traffic.close()
        assert node.stop(30) == 0, (place.folder / "node.log").read_text()[-3000:]
