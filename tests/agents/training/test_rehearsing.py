"""Versions of finished runs, replayed on a real Kafka with real executors before they are promoted."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (aiokafka ships no type information)

import asyncio
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from chimera.agents.training.packing import Packing
from chimera.schemas.deployments import Change
from chimera.schemas.model_commands import PromoteModel, decode_command
from chimera.schemas.model_events import CommandAnswered, encode_event
from chimera.schemas.promotion_policy import PromotionPolicy, ReplayRequirement, policy_name
from chimera.schemas.replay_report import ReplayLimits
from chimera.schemas.training_events import VersionCompiled, VersionReplayed, VersionWithheld
from chimera.stores import keys
from chimera.stores.artifacts import Artifacts
from chimera.stores.registry import training_runs
from chimera.stores.registry.training_runs import Ending, NewRun
from chimera.stores.versions import Versions
from chimera.workers.compiling.targets import here
from chimera.workers.packing import write_folder
from tests.agents.replaying.past import MARK, Past, asked, marked_sums
from tests.agents.training.stage import Play, Stage, working
from tests.stores.places import verified
from tests.workers.rig import manifest, sums
from tests.workers.training.places import config
from tests.workers.training.test_history import MANIFEST

pytestmark = pytest.mark.timeout(240)  # several agents with executors, one after the other

STEPS = ("after_replay", "after_verdict")
COUNT = 48
LIMITS = ReplayLimits(
    min_requests=COUNT, max_disagreement=0.2, max_error_rate=0.5, max_p99_ratio=None
)
POLICY = PromotionPolicy(requires_replay=ReplayRequirement(limits=LIMITS))


async def register(stage: Stage, folder: Path, version: str, content: bytes) -> None:
    """A version of `sums` in the store and in the registry, with its graph as its only tier."""
    settings = stage.settings
    made = write_folder(folder / version, manifest("sums", version), {"model.onnx": content})
    store = Artifacts(settings.artifacts.url, settings.artifacts.cache_dir)
    digest = await asyncio.to_thread(Packing(settings).pack, made)
    signed = Versions(store).read(digest, keys.trusted(settings.keys))
    registry = stage.place.registry
    await registry.register(signed.raw, signed.manifest, signed.manifest.files, actor="test")
    graph = store.put(made / "model.onnx")
    await registry.add_artifact("sums", version, verified(graph.sha256, target=here("onnxruntime")))


async def finished(stage: Stage, run_id: str) -> None:
    """A run whose version is being compiled, and the controller's answer that it was."""
    run = NewRun(
        run_id=run_id,
        trigger_id=uuid.uuid4().hex,
        trigger="{}",
        model="sums",
        actor="ada",
        reason="manual",
        priority=5,
        config=msgspec.json.encode(config(name="sums")).decode(),
        until="promoted",
    )
    async with stage.place.database.tenant(stage.place.tenant.id) as connection:
        await training_runs.add(connection, stage.place.tenant.id, run)
        claimed = await training_runs.claim(connection, "test", 60, "cpu")
        assert claimed is not None
        ending = Ending(state="finished", manifest=MANIFEST, stage="compile")
        assert await training_runs.end(connection, claimed, ending)
    answer = CommandAnswered(
        event_id=uuid.uuid4().hex,
        tenant=stage.tenant,
        model="sums",
        at_ms=1,
        source="test",
        command_id=f"{run_id}.1.compile",
        action="compile",
        outcome="done",
    )
    producer = AIOKafkaProducer(bootstrap_servers=stage.bootstrap)
    async with producer:
        await producer.send_and_wait(stage.topics.model_events.name, encode_event(answer))


async def serve(stage: Stage, folder: Path) -> None:
    """Requests, of which every other is such that the two graphs differ, and what the marked one said."""
    past = Past(stage.settings, stage.topics, folder)
    values = [asked(MARK if number % 2 else 0.0, number) for number in range(COUNT)]
    offsets = await past.ask(values)
    tails = [
        past.response(offset, value, number + (MARK + 1) * (number % 2))
        for number, (offset, value) in enumerate(zip(offsets, values, strict=True))
    ]
    await past.serve(tails)


async def promotions(stage: Stage) -> list[Any]:
    records = await stage.records(stage.topics.model_commands.name)
    found = [decode_command(one.value) for one in records]
    return [one for one in found if isinstance(one, PromoteModel)]


def test_version_is_replayed_and_promoted_or_withheld_once_whoever_is_killed(
    play_untrained: Play, tmp_path: Path
) -> None:
    async def work(stage: Stage) -> None:
        registry = stage.place.registry
        for version, content in (
            ("1", marked_sums()),
            ("good", marked_sums()),
            ("bad", sums()),
        ):
            await register(stage, tmp_path / "versions", version, content)
        await registry.record_deployment("sums", Change("deploy", "ada", version="1"))
        body = msgspec.to_builtins(POLICY)
        await registry.put_policy(policy_name("sums"), body, actor="test")
        await serve(stage, tmp_path)
        await finished(stage, "good")
        for step in STEPS:
            await stage.die(step)
        await finished(stage, "bad")
        async with working(stage):
            (withheld,) = await stage.until(VersionWithheld, "bad")
        assert withheld.step == "replay"
        assert "its replay failed: " in withheld.error
        told = await stage.events(VersionReplayed)
        assert [(one.version, one.verdict, one.requests, one.disagreed) for one in told] == [
            ("good", "passed", COUNT, 0),
            ("bad", "failed", COUNT, COUNT // 2),
        ]
        compiled = [one.run_id for one in await stage.events(VersionCompiled)]
        assert compiled == ["good", "bad"]
        stages = [(await stage.run(one)).stage for one in ("good", "bad")]
        assert stages == ["promote", "withheld"]
        assert {one.command_id for one in await promotions(stage)} == {"good.1.promote"}
        for version, verdict in (("good", "passed"), ("bad", "failed")):
            kept = await registry.replay("sums", version)
            assert kept is not None
            assert (kept.report.verdict, kept.made_by) == (verdict, "ada")
        await registry.record_deployment("sums", Change("promote", "ada", version="good"))

    play_untrained(work)
