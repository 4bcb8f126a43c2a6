"""Policies on a real Kafka and a real Postgres: each time that one is due is one trigger, whoever is killed."""

from typing import Any

import msgspec
import pytest

from chimera.schemas.training_events import (
    PolicyFired,
    PolicyRemoved,
    PolicySet,
    RunQueued,
    TriggerAnswered,
)
from chimera.schemas.training_triggers import (
    RemovePolicy,
    SetPolicy,
    TrainModel,
    Trigger,
    decode_trigger,
)
from chimera.schemas.transparency.leaves import ActionTaken, decode_leaf
from chimera.stores.registry import training_policies
from chimera.stores.registry.outbox import AUDIT, Outbox
from chimera.stores.registry.training_policies import NewPolicy
from tests.agents.training.stage import Play, Stage, working
from tests.workers.training.places import config

pytestmark = pytest.mark.timeout(240)  # several agents, one after the other

STEPS = ("after_firing", "after_commit")
OVERDUE = "UPDATE training_policies SET due_at = due_at - interval '20 hours'"
STRANGE = NewPolicy(
    name="a-strange-one",
    trigger_id="t-0",
    trigger='{"v":99}',  # of another release
    model="line",
    actor="ada",
    cause="schedule",
    interval_s=60,
)


def nightly(stage: Stage, trigger_id: str, **fields: Any) -> SetPolicy:
    whole: dict[str, Any] = {
        "tenant": stage.tenant,
        "actor": "ada",
        "config": config(),
        "policy": "nightly",
        "cause": "schedule",
        "interval_s": 6 * 3_600,
        **fields,
    }
    return SetPolicy(trigger_id=trigger_id, **whole)


async def triggers(stage: Stage) -> list[TrainModel]:
    """Orders that are visible on the topic."""
    records = await stage.records(stage.topics.training_triggers.name)
    values = [one.value for one in records if b'"action":"train"' in one.value]
    return [one for one in map(decode_trigger, values) if isinstance(one, TrainModel)]


async def told(stage: Stage) -> list[tuple[str, str, str]]:
    """To the audit log, by whom, of what; as it waits for a controller."""
    rows = await Outbox(stage.place.database, [AUDIT]).pending(10_000)
    leaves = [decode_leaf(row.value) for row in rows]
    actions = [one for one in leaves if isinstance(one, ActionTaken)]
    mine = [one for one in actions if one.tenant == stage.tenant]
    return [
        (one.action, one.actor, one.object) for one in mine if one.object.startswith("training/")
    ]


async def make_due(stage: Stage) -> None:
    """As after an outage: three times have been missed."""
    async with stage.place.database.tenant(stage.place.tenant.id) as connection:
        await connection.execute(OVERDUE)


def test_policy_fires_one_trigger_for_an_outage_and_a_kill_at_any_step(
    play_untrained: Play,
) -> None:
    async def work(stage: Stage) -> None:
        order = nightly(stage, "t-1", priority=3)
        async with working(stage):
            await stage.send(order, order)
            await stage.until(PolicySet)
        for step in STEPS:
            await make_due(stage)
            await stage.die(step)
        async with working(stage):
            await stage.until(RunQueued, count=len(STEPS))
        fired = await stage.events(PolicyFired)
        assert len({one.occasion for one in fired}) == len(fired) == len(STEPS)
        found = await triggers(stage)
        assert found == [one.order for one in fired]
        assert {(one.reason, one.priority, one.actor) for one in found} == {("schedule", 3, "ada")}
        queued = await stage.events(RunQueued)
        assert [one.trigger_id for one in queued] == [one.trigger_id for one in found]
        assert len(await stage.events(TriggerAnswered)) == 1 + len(STEPS)
        assert len(await stage.events(PolicySet)) == 1
        assert await told(stage) == [("policies.put", "ada", "training/nightly")]

    play_untrained(work)


def test_rights_are_asked_when_a_policy_is_set_and_again_when_it_fires(
    play_untrained: Play,
) -> None:
    async def work(stage: Stage) -> None:
        stage = stage.with_trainer(judge_ms=20)
        remove = RemovePolicy(trigger_id="r-1", tenant=stage.tenant, actor="ada", policy="nightly")
        refused: list[Trigger] = [
            nightly(stage, "t-1", actor="mallory"),
            nightly(stage, "t-2", actor="eve", promote=True),
            nightly(stage, "t-3", config=config(model={"definition": "os:system"})),
            nightly(stage, "t-4", interval_s=1),
            msgspec.structs.replace(remove, actor="mallory"),
            remove,
        ]
        async with working(stage):
            await stage.send(*refused, nightly(stage, "t-5", actor="eve"))
            answers = await stage.answers(7)
            assert [one.outcome for one in answers] == ["refused"] * 6 + ["accepted"]
            reasons = ["; ".join(one.reasons) for one in answers]
            for part, said in zip(
                ("right to train", "right to promote", "os:system", "interval_s",
                 "right to train", "there is no policy"), reasons, strict=False,
            ):  # fmt: skip
                assert part in said
            rights = {"train": ["ada"], "promote": ["ada"]}
            await stage.place.registry.put_policy("training", rights, actor="test")
            async with stage.place.database.tenant(stage.place.tenant.id) as connection:
                await training_policies.put(connection, stage.place.tenant.id, STRANGE)
            await make_due(stage)
            *_, last = await stage.answers(8)
            assert (last.outcome, last.action) == ("refused", "train")
            assert "eve has no right to train" in last.reasons[0]
            await stage.send(msgspec.structs.replace(remove, trigger_id="r-2"))
            await stage.until(PolicyRemoved)
        left = await stage.place.registry.training_policies()
        assert [(one.name, one.firings) for one in left] == [("a-strange-one", 0)]
        assert len(await triggers(stage)) == 1
        assert await stage.events(RunQueued) == []
        expected = [("policies.put", "eve"), ("policies.remove", "ada")]
        assert [one[:2] for one in await told(stage)] == expected

    play_untrained(work)
