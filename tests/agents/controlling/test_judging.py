"""Versions under watch on a real Kafka and a real Postgres: judged by what nodes told, once."""

import asyncio
import itertools

from msgspec import UNSET

from chimera.schemas.deployments import Change, watches
from chimera.schemas.model_commands import (
    DeployModel,
    PauseModel,
    PromoteModel,
    RollBackModel,
    WatchPolicy,
)
from chimera.schemas.model_events import Event, ModelRolledBack, WatchJudged
from chimera.schemas.model_observed import ModelObserved, Seen
from chimera.stores.registry.records import Artifact
from tests.agents.controlling.stage import WITHIN_S, Play, Stage, steered, until
from tests.agents.scene import TRANSACTION_STEPS
from tests.stores.places import compiled, verified

STEPS = ("after_judgement", *TRANSACTION_STEPS)
SHORT = WatchPolicy(window_s=0, min_requests=100)
LONG = WatchPolicy(window_s=3_600, min_requests=100)
NO_LONGER = Artifact("onnx-cpu", "fp32", "x86-64", "refused", "max error 1.0")
FAST, SLOW = 160, 192  # buckets: 1 ms, 4 ms

_numbers = itertools.count(1)


def seen(
    stage: Stage,
    version: str,
    revision: int,
    requests: int,
    *,
    errors: int = 0,
    bucket: int = FAST,
    pace: int | None = None,
    model: str = "digits",
    compared: int = 0,
    disagreed: int = 0,
) -> ModelObserved:
    """What a node told of a version, batches by pace; records are numbered as they are made."""
    return ModelObserved(
        tenant=stage.tenant,
        model=model,
        version=version,
        revision=revision,
        node="n1",
        sequence=next(_numbers),
        until_ms=0,
        seen=Seen(
            requests=requests,
            errors=errors,
            latencies={bucket: requests - errors} if requests > errors else {},
            compared=compared,
            disagreed=disagreed,
            paces=UNSET if pace is None else {12: {pace: requests}},
        ),
    )


async def judged(stage: Stage, count: int = 1) -> list[WatchJudged]:
    """Waits until so many watches were judged."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            found = [one for one in await stage.events() if isinstance(one, WatchJudged)]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)


async def promoted(stage: Stage, watch: WatchPolicy | None, before: ModelObserved | None) -> None:
    """2 after 1: revision 2."""
    await stage.send(stage.command(DeployModel, version="1"))
    await stage.answers(1)
    if before is not None:
        await stage.observe(before)
    await stage.send(stage.command(PromoteModel, version="2", watch=watch))
    await stage.answers(2)


def rolled_back(events: list[Event]) -> list[ModelRolledBack]:
    return [one for one in events if isinstance(one, ModelRolledBack)]


def test_version_that_fails_too_often_is_rolled_back_by_itself(play_compiled: Play) -> None:
    """Long before its window is over; the reason is told, and nodes have the version before."""

    async def work(stage: Stage) -> None:
        async with steered(stage):
            await promoted(stage, LONG, seen(stage, "1", 1, 1_000))
            await stage.observe(seen(stage, "2", 2, 200, errors=40))
            (verdict,) = await judged(stage)
            events, states = await stage.events(), await stage.states()
        assert (verdict.version, verdict.verdict, verdict.policy) == ("2", "breached", LONG)
        assert "error rate 40 of 200" in verdict.reason
        assert (verdict.candidate.requests, verdict.candidate.errors) == (200, 40)
        assert verdict.previous is not None and verdict.previous.requests == 1_000
        (back,) = rolled_back(events)
        assert (back.withdrawn, back.restored, back.revision) == (("2",), ("1",), 3)
        assert back.is_automatic and back.reason == verdict.reason
        assert [one.weights for one in states] == [{"1": 1}, {"2": 1}, {"1": 1}]
        history = await stage.place.registry.history("digits")
        last = history[-1]
        assert (last.action, last.actor, last.reason) == ("rollback", "controller", back.reason)
        assert watches(stage.tenant, "digits", history) == {2: "breached"}

    play_compiled(work)


def test_version_that_is_too_slow_is_rolled_back_by_itself(play_compiled: Play) -> None:
    async def work(stage: Stage) -> None:
        async with steered(stage):
            await promoted(stage, LONG, seen(stage, "1", 1, 2_000, pace=FAST))
            await stage.observe(seen(stage, "2", 2, 2_000, bucket=SLOW, pace=SLOW))
            (verdict,) = await judged(stage)
        assert verdict.verdict == "breached"
        assert "p99 4." in verdict.reason and "before 1." in verdict.reason

    play_compiled(work)


def test_version_that_only_has_more_callers_is_kept(play_compiled: Play) -> None:
    async def work(stage: Stage) -> None:
        async with steered(stage):
            await promoted(stage, SHORT, seen(stage, "1", 1, 2_000, pace=FAST))
            await stage.observe(seen(stage, "2", 2, 2_000, bucket=SLOW, pace=FAST))
            (verdict,) = await judged(stage)
        assert verdict.verdict == "passed"
        assert "batches of a size take no longer" in verdict.reason

    play_compiled(work)


def test_version_that_keeps_to_its_policy_is_kept(play_compiled: Play) -> None:
    async def work(stage: Stage) -> None:
        async with steered(stage):
            await promoted(stage, SHORT, seen(stage, "1", 1, 2_000))
            await stage.observe(seen(stage, "2", 2, 2_000))
            (verdict,) = await judged(stage)
            events, states = await stage.events(), await stage.states()
        assert (verdict.verdict, rolled_back(events)) == ("passed", [])
        assert [one.weights for one in states] == [{"1": 1}, {"2": 1}, {"2": 1}]
        history = await stage.place.registry.history("digits")
        assert watches(stage.tenant, "digits", history) == {2: "passed"}

    play_compiled(work)


def test_few_requests_and_those_of_another_revision_decide_nothing(play_compiled: Play) -> None:
    """The log's last record is one that decides: then all before it was read, and decided nothing."""

    async def work(stage: Stage) -> None:
        async with steered(stage):
            await promoted(stage, SHORT, seen(stage, "1", 1, 2_000))
            await stage.observe(
                seen(stage, "2", 2, 1, errors=1),
                seen(stage, "2", 2, 90),
                seen(stage, "2", 1, 2_000, errors=2_000),
            )
            await stage.send(stage.command(PauseModel))
            await stage.answers(3)
            assert not [one for one in await stage.events() if isinstance(one, WatchJudged)]
            await stage.observe(seen(stage, "2", 2, 3_000))
            (verdict,) = await judged(stage)
        assert (verdict.verdict, verdict.candidate.requests) == ("passed", 3_091)

    play_compiled(work)


def test_share_is_compared_with_what_answers_the_rest_and_taken_back(play_compiled: Play) -> None:
    async def work(stage: Stage) -> None:
        async with steered(stage):
            await stage.send(
                stage.command(DeployModel, version="1"),
                stage.command(DeployModel, version="2", weight=0.1, watch=LONG),
            )
            await stage.answers(2)
            await stage.observe(seen(stage, "1", 2, 9_000), seen(stage, "2", 2, 1_500, bucket=SLOW))
            (verdict,) = await judged(stage)
            states = await stage.states()
        assert verdict.verdict == "breached" and "p99" in verdict.reason
        assert [one.weights for one in states] == [{"1": 1}, {"1": 90, "2": 10}, {"1": 1}]

    play_compiled(work)


def test_version_that_disagrees_with_its_shadow_is_rolled_back(play_compiled: Play) -> None:
    async def work(stage: Stage) -> None:
        policy = WatchPolicy(window_s=3_600, max_disagreement=0.05)
        async with steered(stage):
            await promoted(stage, policy, seen(stage, "1", 1, 2_000))
            shadowed = (await stage.states())[-1].shadow
            assert shadowed is not None and (shadowed.version, shadowed.share) == ("1", 1.0)
            await stage.observe(seen(stage, "1", 2, 0, compared=400, disagreed=200))
            (verdict,) = await judged(stage)
            assert (await stage.states())[-1].shadow is None
        assert "disagreement 200 of 400" in verdict.reason

    play_compiled(work)


def test_watch_that_is_superseded_is_judged_no_more(play_compiled: Play) -> None:
    """What its version did counts neither for it, nor for the watch that opens instead."""

    async def work(stage: Stage) -> None:
        async with steered(stage):
            await promoted(stage, LONG, seen(stage, "1", 1, 2_000))
            await stage.send(stage.command(RollBackModel))
            await stage.answers(3)
            await stage.observe(seen(stage, "2", 2, 900, errors=900))
            await stage.send(stage.command(PromoteModel, version="2", watch=SHORT))
            await stage.answers(4)
            await stage.observe(seen(stage, "1", 3, 2_000), seen(stage, "2", 4, 2_000))
            (verdict,) = await judged(stage)
        assert verdict.verdict == "passed"
        history = await stage.place.registry.history("digits")
        assert watches(stage.tenant, "digits", history) == {2: "superseded", 4: "passed"}

    play_compiled(work)


def test_breach_that_cannot_be_rolled_back_is_told_once_and_tried_until_it_can(
    play_compiled: Play,
) -> None:
    """What was before has lost its only tier meanwhile; a second controller goes on with it."""

    async def work(stage: Stage) -> None:
        registry = stage.place.registry
        good = (await registry.version("digits", "1")).sha256
        async with steered(stage):
            await promoted(stage, LONG, seen(stage, "1", 1, 1_000))
            await registry.add_artifact("digits", "1", NO_LONGER)
            await stage.observe(seen(stage, "2", 2, 200, errors=40))
            (verdict,) = await judged(stage)
            assert stage.held() == 1
        assert verdict.verdict == "breached"
        assert "could not be rolled back: rollback digits 1: no tier" in verdict.reason
        assert "error rate 40 of 200" in verdict.reason
        assert stage.held() is None
        async with steered(stage):
            await until(lambda: stage.held() == 1)
            await registry.add_artifact("digits", "1", verified(good))
            async with asyncio.timeout(WITHIN_S):
                while not (back := rolled_back(await stage.events())):  # noqa: ASYNC110  # nothing announces it
                    await asyncio.sleep(0.05)
            assert stage.held() is None
            assert await judged(stage) == [verdict]
        assert [(one.restored, one.is_automatic, one.revision) for one in back] == [
            (("1",), True, 3)
        ]
        history = await registry.history("digits")
        assert watches(stage.tenant, "digits", history) == {2: "breached"}

    play_compiled(work)


def test_controller_killed_at_each_step_judges_each_watch_once(
    play_compiled: Play,
) -> None:
    """A watch for each step; its evidence comes when all before it are over."""
    models = [f"m{number}" for number in range(len(STEPS) + 1)]

    async def work(stage: Stage) -> None:
        registry = stage.place.registry
        async with steered(stage):
            for model in models:
                for version, watch in (("1", None), ("2", LONG)):
                    await compiled(registry, model, version)
                    await registry.record_deployment(
                        model, Change("deploy", "ada", version=version, watch=watch)
                    )
            async with asyncio.timeout(WITHIN_S):
                while len(await stage.states()) < 2 * len(models):  # noqa: ASYNC110  # nothing announces it
                    await asyncio.sleep(0.05)
        for model, step in zip(models, STEPS, strict=False):
            await stage.observe(seen(stage, "2", 2, 200, errors=100, model=model))
            await stage.die(step)
        await stage.observe(seen(stage, "2", 2, 200, errors=100, model=models[-1]))
        async with steered(stage):
            await judged(stage, len(models))
            await stage.send(stage.command(PauseModel, model=models[-1]))
            await stage.answers(1)
        events, states = await stage.events(), await stage.states()
        assert sorted(one.model for one in events if isinstance(one, WatchJudged)) == models
        assert sorted(one.model for one in rolled_back(events)) == models
        assert sorted(one.model for one in states if one.revision == 3) == models
        for model in models[:-1]:
            actions = [one.action for one in await registry.history(model)]
            assert actions == ["deploy", "deploy", "rollback"]

    play_compiled(work)
