"""What a node tells of its versions: whose errors count, of what is followed, and once."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import structlog

from chimera.agents.following.observing import HOLD_S, Observing
from chimera.agents.lanes.outcomes import Case, Error
from chimera.schemas.model_observed import ModelObserved, Seen
from chimera.schemas.model_state import LiveVersion, ModelState, TierArtifact
from chimera.schemas.work import Deferred
from chimera.topics import admin, clients
from chimera.topics.catalogue import catalogue
from chimera.topics.dead_letters import Origin
from chimera.workers.reports import Report, VersionSeen
from chimera.workers.splits import Split
from tests.agents.controlling.stage import observations, settings_of

TIERS = (TierArtifact("onnx-cpu", "0a" * 32),)


def state(revision: int, **weights: float) -> ModelState:
    return ModelState(
        tenant="default",
        model="digits",
        revision=revision,
        changed_ms=0,
        command_id="c",
        live=tuple(
            LiveVersion(version=name.removeprefix("v"), sha256="0b" * 32, weight=w, tiers=TIERS)
            for name, w in weights.items()
        ),
    )


@dataclass
class Followed:
    states: dict[str, ModelState] = field(default_factory=dict[str, ModelState])

    def state(self, model: str) -> ModelState | None:
        return self.states.get(model)


def observing(*states: ModelState) -> Observing:
    followed = Followed({one.model: one for one in states})
    return Observing("models.observed", {}, followed)


def error(code: str, version: str = "", *, offset: int = 0, is_answer: bool = False) -> Error:
    case = Case(Origin("inference.requests", 0, offset, 0), [])
    return Error(code, "why", case, "digits", None, version, is_answer)


def report(version: str, requests: int) -> Report:
    return Report("cpu:0", (VersionSeen("digits", version, Seen(requests=requests)),))


def told(found: Observing) -> list[ModelObserved]:
    """All that is ever told."""
    return list(found.records(time.monotonic() + HOLD_S))


def failing(found: Observing) -> dict[str, int]:
    return {one.version: one.seen.errors for one in told(found) if one.seen.errors}


@pytest.mark.parametrize(
    ("code", "is_answer", "counts"),
    [
        ("model_error", True, True),
        ("out_of_memory", True, True),
        ("out_of_memory", False, True),
        ("worker_crashed", False, True),
        ("backend_unavailable", False, True),
        ("too_large", True, True),  # its result
        ("too_large", False, False),  # the request
        ("malformed", False, False),
        ("schema_invalid", True, False),
        ("unknown_model", True, False),
        ("deadline_exceeded", True, False),
        ("shed", False, False),
        ("rate_limited", False, False),
        ("unauthorised", False, False),
        ("bad_signature", False, False),
    ],
)
def test_error_counts_where_it_is_the_versions_own(
    code: str, is_answer: bool, counts: bool
) -> None:
    found = observing(state(1, v1=1))
    found.take_errors([error(code, "1", is_answer=is_answer)])
    assert failing(found) == ({"1": 1} if counts else {})


def test_version_that_takes_no_call_fails_who_waits_for_it_and_a_pause_fails_nobody() -> None:
    found = observing(state(1, v1=1))
    found.take_deferred(Deferred(1, [4, 5, 6], "digits", "1", 99))
    found.take_deferred(Deferred(1, [7, 8], "digits"))
    assert failing(found) == {"1": 3}


def test_error_that_nobody_answered_is_of_the_version_that_was_drawn() -> None:
    now = state(1, v1=50, v2=50)
    found = observing(now)
    found.take_errors([error("worker_crashed", offset=offset) for offset in range(200)])
    split = Split(now.weights)
    drawn = [split.pick("inference.requests", 0, offset) for offset in range(200)]
    assert failing(found) == {one: drawn.count(one) for one in ("1", "2")}
    found.take_errors([error("worker_crashed", "1", offset=offset) for offset in range(200)])
    assert failing(found) == {"1": 200}, "they asked for it by its name"


def test_error_of_an_answer_without_a_version_is_nobodys() -> None:
    """A request that its executor could not even read."""
    found = observing(state(1, v1=1))
    found.take_errors([error("too_large", is_answer=True), error("out_of_memory", is_answer=True)])
    assert told(found) == []


def test_records_bear_the_revision_and_are_numbered() -> None:
    found = observing(state(7, v1=1))
    found.take_report(report("1", requests=5))
    found.take_report(report("1", requests=2))
    found.take_errors([error("model_error", "1", is_answer=True)])
    (first,) = told(found)
    assert (first.seen.requests, first.seen.errors, first.revision, first.sequence) == (8, 1, 7, 1)
    assert told(found) == []
    found.take_report(report("2", requests=1))
    (second,) = told(found)
    assert (second.version, second.sequence, second.node) == ("2", 2, first.node)


def test_errors_are_not_told_before_what_was_computed_beside_them() -> None:
    """Nor under another revision than that under which they were made."""
    followed = Followed({"digits": state(7, v1=1)})
    found = Observing("models.observed", {}, followed)
    found.take_errors([error("model_error", "1", is_answer=True)])
    now_s = time.monotonic()
    assert list(found.records(now_s)) == []
    followed.states["digits"] = state(8, v1=1)
    found.take_report(report("1", requests=5))
    later = list(found.records(now_s + HOLD_S))
    counted = [(one.revision, one.seen.requests, one.seen.errors) for one in later]
    assert counted == [(8, 5, 0), (7, 1, 1)]


def test_nothing_is_told_of_what_is_not_followed() -> None:
    for found in (observing(), Observing("models.observed", {}, None)):
        found.take_report(report("1", requests=5))
        found.take_errors([error("worker_crashed")])
        assert told(found) == []


def test_observations_reach_their_topic_and_a_broker_that_is_away_ends_nothing(
    kafka: str, prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = settings_of(kafka, prefix, tmp_path_factory.mktemp("observing"))
    topics = catalogue(settings)
    followed = Followed({"digits": state(3, v1=1)})

    async def run_until(bootstrap: str, holds: Callable[[], Awaitable[bool]]) -> None:
        """Until that holds a node that saw five requests tells of them."""
        arguments = clients.arguments(settings.kafka, bootstrap)
        found = Observing(topics.model_observed.name, arguments, followed)
        found.take_report(report("1", requests=5))
        running = asyncio.create_task(found.run())
        try:
            async with asyncio.timeout(60):
                while not await holds():
                    assert not running.done()
                    await asyncio.sleep(0.05)
        finally:
            running.cancel()
            await asyncio.wait((running,))

    async def scenario() -> None:
        async with admin.connected(settings.kafka) as client:
            await admin.apply(client, topics, await admin.plan(client, topics))
        with structlog.testing.capture_logs() as logs:

            async def is_dropped() -> bool:
                return any(one["event"] == "observations_dropped" for one in logs)

            await run_until("127.0.0.1:1", is_dropped)

        async def is_there() -> bool:
            return bool(await observations(kafka, topics))

        await run_until(kafka, is_there)
        seen = await observations(kafka, topics)
        assert [(one.version, one.revision, one.seen.requests) for one in seen] == [("1", 3, 5)]

    asyncio.run(scenario())
