"""Served rows on a real Kafka and a real Postgres: what has not changed alarms nobody, a shift fires once."""

import asyncio
from pathlib import Path

import pytest

from chimera.schemas.training_events import PolicyFired, PolicySet, RunQueued, ServedDriftFound
from chimera.schemas.training_triggers import ServedRows, SetPolicy
from tests.agents.training.stage import Play, Stage, working
from tests.workers.training.places import config
from tests.workers.training.served_rows import MODEL, ROWS, learnt, serve

pytestmark = pytest.mark.timeout(300)  # several agents, one after the other

STEPS = ("after_look", "after_alert", "after_firing", "after_commit")


def watching(stage: Stage, url: str, trigger_id: str = "t-1") -> SetPolicy:
    return SetPolicy(
        trigger_id=trigger_id,
        tenant=stage.tenant,
        actor="ada",
        config=config(data={"sources": ["synthetic:60,4"]}),
        policy="on-drift",
        cause="drift",
        interval_s=3_600,
        served=ServedRows(url=url),
    )


def test_shift_of_served_rows_is_told_and_fires_once_whoever_is_killed(
    play_untrained: Play, tmp_path: Path
) -> None:
    async def work(stage: Stage) -> None:
        samples = tmp_path / "data" / "samples"
        learnt(stage.runs_dir)
        url = serve(samples)
        looked = asyncio.Event()

        def step(name: str) -> None:
            if name == "after_look":
                looked.set()

        async with working(stage, step):
            await stage.send(watching(stage, url))
            await stage.until(PolicySet)
            await asyncio.wait_for(looked.wait(), 60)
        (policy,) = await stage.place.registry.training_policies()
        assert policy.alert is None
        serve(samples, 2.0, partition=1)
        for name in STEPS:
            await stage.die(name)
        async with working(stage):
            (queued,) = await stage.until(RunQueued)
        (alert,) = await stage.events(ServedDriftFound)
        assert (alert.run_id, alert.model, alert.policy) == ("base", MODEL, "on-drift")
        assert alert.rows == 2 * ROWS
        assert {one.column for one in alert.columns} == {"x0", "x1", "x2", "x3"}
        assert alert.until_ms - alert.since_ms == 86_400_000
        (fired,) = await stage.events(PolicyFired)
        assert (fired.occasion, fired.order.reason) == ("served:base", "drift")
        assert queued.trigger_id == fired.trigger_id
        (policy,) = await stage.place.registry.training_policies()
        assert (policy.firings, policy.alert, policy.due_at) == (1, None, None)

    play_untrained(work)
