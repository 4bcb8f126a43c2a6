"""Events that a node tells: one a transition, on a real broker; without one it waits and serves on."""

import asyncio
from pathlib import Path

import pytest

from chimera.agents.following import announcing as announcing_module
from chimera.agents.following.announcing import MAX_WAITING, Announcing
from chimera.schemas.model_events import Event, TierChanged, VersionRefused
from chimera.schemas.model_state import ModelState
from chimera.schemas.work import Loaded
from chimera.topics import admin, clients
from chimera.topics.catalogue import catalogue
from chimera.workers.reports import Report, TierTransition
from tests.agents.controlling.stage import events, settings_of

STATE = ModelState(tenant="default", model="digits", revision=3, changed_ms=0, command_id="c-3")
REPORT = Report(
    "cpu:0:1",
    (),
    (
        TierTransition("digits", "7", "onnx-cpu", "closed", "open", "5 of 10 calls failed", 1_000),
        TierTransition("digits", "7", "onnx-cpu", "open", "half_open", "its time is over", 2_000),
    ),
    1,
)
REFUSED = Loaded("digits", "7", "d" * 64, "", 0, "no space left on device")


def test_each_transition_and_refusal_is_an_event(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_of(kafka, prefix, tmp_path)
    topics = catalogue(settings)

    async def scenario() -> list[Event]:
        async with admin.connected(settings.kafka) as client:
            await admin.apply(client, topics, await admin.plan(client, topics))
        arguments = clients.arguments(settings.kafka, kafka, "test")
        announcing = Announcing(topics.model_events.name, arguments)
        task = asyncio.create_task(announcing.run())
        try:
            announcing.take_report(REPORT)
            announcing.refused(STATE, REFUSED, 2)
            async with asyncio.timeout(30):
                while len(found := await events(kafka, topics)) < 3:  # noqa: ASYNC110  # it is in Kafka
                    await asyncio.sleep(0.05)
            return found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    opened, probed, refused = asyncio.run(scenario())
    assert isinstance(opened, TierChanged) and isinstance(probed, TierChanged)
    assert (opened.before, opened.after, opened.at_ms) == ("closed", "open", 1_000)
    assert (probed.before, probed.after) == ("open", "half_open")
    assert opened.source.endswith("/cpu:0:1") and opened.event_id != probed.event_id
    assert isinstance(refused, VersionRefused)
    assert (refused.version, refused.revision, refused.tries) == ("7", 3, 2)
    assert refused.reason == "no space left on device"


def test_events_that_no_broker_takes_wait_and_the_oldest_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(announcing_module, "AGAIN_S", 60.0)

    async def scenario() -> None:
        announcing = Announcing("nothing", {"bootstrap_servers": "127.0.0.1:1"})
        announcing.refused(STATE, REFUSED, 1)
        task = asyncio.create_task(announcing.run())
        await asyncio.sleep(0)
        for tries in range(2, MAX_WAITING + 1):
            announcing.refused(STATE, REFUSED, tries)
        async with asyncio.timeout(30):
            while len(announcing) < MAX_WAITING:  # noqa: ASYNC110  # nothing announces it
                await asyncio.sleep(0.02)
        announcing.refused(STATE, REFUSED, MAX_WAITING + 1)
        assert len(announcing) == MAX_WAITING and not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
