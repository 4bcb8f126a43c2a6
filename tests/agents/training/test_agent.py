"""Runs of real trainers: to the end once, whoever is killed meanwhile, with the weights of a quiet run."""

import asyncio
import os
import signal
import uuid
from pathlib import Path
from typing import Any

import pytest

from chimera.schemas.training_config import TrainingConfig
from chimera.schemas.training_events import (
    CheckpointSaved,
    DriftFound,
    PolicyFired,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunProgressed,
    RunStarted,
)
from chimera.schemas.training_manifest import (
    TrainingManifest,
    decode_manifest,
    encode_manifest,
    verify,
)
from chimera.schemas.training_triggers import SetPolicy
from chimera.stores import keys
from chimera.stores.registry.training_runs import TrainingRun
from chimera.workers.training import limits, recording
from chimera.workers.training.run import train
from tests.agents.training.stage import WITHIN_S, Play, Stage, working
from tests.workers.training.places import config, where

pytestmark = pytest.mark.timeout(600)  # several processes that load torch, on a busy machine

GATED: dict[str, Any] = {"definition": "tests.workers.training.hooks:Gated", "arguments": {}}
OFTEN: dict[str, Any] = {"every_minutes": 1e-9, "keep_last": 2}


@pytest.mark.campaign
def test_run_whose_agent_and_trainer_are_killed_ends_once_with_the_same_weights(
    play: Play, tmp_path: Path
) -> None:
    async def work(stage: Stage) -> None:
        order = stage.order(config=gated(tmp_path / "gate"))
        run_id = stage.run_id(order)
        await stage.send(order)
        await stage.die("after_claim")  # its trainer was not started yet
        await stage.die("after_beat:3")
        async with working(stage):
            started = await stage.until(RunStarted, run_id, 3)
            await saved_by(stage, run_id, started[-1].attempt)
            os.kill(trainer_of(stage, run_id), signal.SIGKILL)
            await stage.until(RunInterrupted, run_id)
        (tmp_path / "gate").touch()
        await stage.die("after_record")  # the trainer has finished, and nobody was told
        await stage.die("before_end")
        async with working(stage):
            (finished,) = await stage.until(RunFinished, run_id)
        quiet = train(config(model=GATED), where(tmp_path / "quiet"))
        assert finished.manifest.weights_sha256 == quiet.weights_sha256
        assert finished.manifest.updates == quiet.updates
        assert len(await stage.events(RunFinished, run_id)) == 1
        run = await stage.run(run_id)
        assert (run.state, run.stage) == ("finished", "register")
        require_recorded(stage, run, finished.manifest)
        killed = [one for one in await stage.events(RunInterrupted, run_id) if one.code == "died"]
        assert [one.error for one in killed] == ["its trainer was ended by signal 9"]

    play(work)


def require_recorded(stage: Stage, run: TrainingRun, told: TrainingManifest) -> None:
    """Signed, once, and the same in the event, the registry, the history and the run's folder."""
    assert run.manifest == told
    assert told.version == run.run_id
    (line,) = (stage.runs_dir / "history.jsonl").read_bytes().splitlines()
    assert decode_manifest(line) == told
    for raw in (line, encode_manifest(told)):
        verify(raw, keys.trusted(stage.settings.keys), run.run_id)
    recording.require_whole(stage.runs_dir, line)
    assert list((stage.runs_dir / run.run_id / "data").iterdir()) == []  # its version is packed


def gated(gate: Path) -> TrainingConfig:
    """A run that goes no further than its second update before there is this file."""
    return config(model=GATED | {"arguments": {"gate_file": str(gate)}}, checkpoints=OFTEN)


async def saved_by(stage: Stage, run_id: str, attempt: int) -> None:
    """A checkpoint of this attempt was told."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            saved = await stage.events(CheckpointSaved, run_id)
            if any(one.attempt == attempt for one in saved):
                return
            await asyncio.sleep(0.1)


def trainer_of(stage: Stage, run_id: str) -> int:
    """The process that has the lock of a run's folder."""
    folder = stage.runs_dir / run_id
    inode = (folder / "trainer.lock").stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[5].endswith(f":{inode}") and fields[1] != "->":
            return int(fields[4])
    raise AssertionError(f"nobody has {folder}")


BAD: dict[str, tuple[dict[str, Any], str, str]] = {  # arguments, code, reason
    "hangs": ({"hang_for_s": 600}, "hung", "no step within 8 s"),
    "eats memory": (  # more than is its own by default, and less than there is
        {"eat_bytes": 3 * limits.there_is_bytes() // 4},
        "out_of_memory",
        f"(CHIMERA_TRAINER__MEMORY_BYTES: {limits.share_bytes(2)})",
    ),
    "dies": ({"abort": True}, "died", "signal 6; 1 attempts"),
    "raises": ({"fault": "boo"}, "crashed", "RuntimeError('boo')"),
}


def test_trainer_that_cannot_go_on_is_ended_and_its_run_fails_with_the_reason(play: Play) -> None:
    async def work(stage: Stage) -> None:
        stage = stage.with_trainer(devices=("cpu", "cpu"), max_attempts=1, hang_s=8.0)
        orders = {
            name: stage.order(config=config(model=GATED | {"arguments": arguments}))
            for name, (arguments, *_) in BAD.items()
        }
        wrong = stage.order(config=config(loss={"name": "mse", "arguments": {"speed": 3}}))
        async with working(stage):
            await stage.send(*orders.values(), wrong)
            failed = {one.run_id: one for one in await stage.until(RunFailed, count=5)}
        for name, (_, code, why) in BAD.items():
            found = failed[stage.run_id(orders[name])]
            assert (found.code, why in found.error) == (code, True), (name, found)
        refused = failed[stage.run_id(wrong)]
        assert (refused.code, "loss.arguments of mse" in refused.error) == ("refused", True)
        assert (await stage.run(refused.run_id)).state == "failed"

    play(work)


def test_runs_go_by_priority_and_one_is_cancelled_while_it_runs(play: Play, tmp_path: Path) -> None:
    async def work(stage: Stage) -> None:
        held = gated(tmp_path / "gate")
        first, later = stage.order(config=held, priority=1), stage.order(priority=9)
        sooner = stage.order(config=config(data={"sources": ["synthetic:900,4,7"]}), priority=2)
        await stage.send(first)
        async with working(stage):
            await stage.until(RunProgressed, stage.run_id(first))
            await stage.send(later, sooner, on_drift(stage))
            await stage.answers(4)
            await stage.send(stage.cancel(stage.run_id(first)))
            await stage.until(RunCancelled, stage.run_id(first))
            await stage.until(RunFinished, count=2)
            await stage.until(PolicyFired)
        started = [one.run_id for one in await stage.events(RunStarted)]
        assert started[:3] == [stage.run_id(one) for one in (first, sooner, later)]
        assert (await stage.run(stage.run_id(first))).state == "cancelled"
        drifted = await stage.events(DriftFound)
        assert [one.run_id for one in drifted] == [stage.run_id(later)]
        (fired,) = await stage.events(PolicyFired)
        assert (fired.occasion, fired.order.reason) == (stage.run_id(later), "drift")

    play(work)


def on_drift(stage: Stage) -> SetPolicy:
    return SetPolicy(
        trigger_id=uuid.uuid4().hex,
        tenant=stage.tenant,
        actor="ada",
        config=config(data={"sources": ["synthetic:60,4"]}),
        policy="on-drift",
        cause="drift",
        interval_s=3_600,
    )


def test_agent_that_stops_gives_its_runs_back(play: Play, tmp_path: Path) -> None:
    async def work(stage: Stage) -> None:
        order = stage.order(config=gated(tmp_path / "gate"))
        await stage.send(order)
        async with working(stage):
            await stage.until(RunProgressed, stage.run_id(order))
        run = await stage.run(stage.run_id(order))
        (told,) = await stage.events(RunInterrupted)
        assert (run.state, run.fruitless, told.code) == ("queued", 0, "agent_stopped")

    play(work)
