"""A compile command: a real process, artifacts in the store, rows in the registry, once."""

import asyncio
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from chimera.agents.controlling.commands import Commands
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.compile_report import decode
from chimera.schemas.deployments import Change
from chimera.schemas.model_commands import CompileModel
from chimera.schemas.model_events import CommandAnswered, CompileStepped, Event, ModelCompiled
from chimera.schemas.model_settings import ControllerSettings
from chimera.schemas.settings import Settings
from chimera.stores.artifacts import Artifacts
from chimera.stores.registry.states import tiers_of
from chimera.stores.versions import Versions
from tests.agents.controlling.stage import settings_of
from tests.stores.content import TRUSTED, version_in
from tests.stores.places import Place, opened

pytestmark = pytest.mark.timeout(120)  # a process that compiles, on a busy machine


def sums() -> bytes:
    """y = x0 + x1."""
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)],
        "sums",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.fixture
def settings(prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("CHIMERA_COMPILING__MEASURE_S", "0.02")
    monkeypatch.setenv("CHIMERA_COMPILING__BATCH_SIZES", "[1, 4]")
    monkeypatch.setenv("CHIMERA_BATCHING__MAX_BATCH_SIZE", "4")
    return settings_of("nowhere:1", prefix, tmp_path)


async def registered(place: Place, settings: Settings, folder: Path, model: bytes) -> None:
    store = Versions(Artifacts(settings.artifacts.url, settings.artifacts.cache_dir))
    raw, signature = version_in(folder, model=model)
    signed = store.read(store.add(folder, raw, signature), TRUSTED)
    await place.registry.register(raw, signed.manifest, signed.manifest.files, actor="test")


def compiling(place: Place, *tiers: str, command_id: str = "c-1") -> CompileModel:
    return CompileModel(
        command_id=command_id,
        tenant=place.tenant.name,
        model="digits",
        actor="ada",
        version="1",
        tiers=tiers,
    )


def answer_of(events: tuple[Event, ...]) -> CommandAnswered:
    answer = events[-1]
    assert isinstance(answer, CommandAnswered)
    return answer


def test_compile_stores_what_is_verified_and_does_it_once(
    server: EmbeddedPostgres, settings: Settings, tmp_path: Path
) -> None:
    async def run() -> None:
        async with opened(server) as place:
            await registered(place, settings, tmp_path / "version", sums())
            commands = Commands(settings, place.database, "us")
            told: list[Event] = []

            async def tell(event: Event) -> None:
                told.append(event)

            events = await commands.do(compiling(place, "onnx-cpu", "torch-cpu"), tell)
            assert answer_of(events).outcome == "done", answer_of(events).error
            assert isinstance(events[0], ModelCompiled)
            tiers = {one.tier: one for one in events[0].tiers}
            assert tiers["onnx-cpu"].verdict == "verified"
            assert tiers["torch-cpu"].verdict == "skipped"
            assert {one.partition("-int8")[0] for one in tiers} == {"onnx-cpu", "torch-cpu"}
            steps = [(one.tier, one.stage) for one in told if isinstance(one, CompileStepped)]
            assert steps.index(("onnx-cpu", "making")) < steps.index(("onnx-cpu", "verified"))
            assert {one.command_id for one in told} == {"c-1"}

            artifacts = Artifacts(settings.artifacts.url, settings.artifacts.cache_dir)
            report = decode(artifacts.get(events[0].report_sha256).read_bytes(), "report")
            by_variant = {one.variant: one for one in report.tiers}
            assert {name: one.report for name, one in tiers.items()} == {
                name: by_variant[name] for name in tiers
            }
            made = await place.registry.artifacts("digits", "1")
            served = {one.tier: one for one in tiers_of(made)}
            assert artifacts.has(served["onnx-cpu"].sha256)
            assert served["onnx-cpu"].sha256 == tiers["onnx-cpu"].sha256
            assert set(served["onnx-cpu"].p99_us) == {1, 4}
            assert len(made) == len(tiers) < len(report.tiers)

            again = await commands.do(compiling(place, "onnx-cpu", "torch-cpu"))
            assert isinstance(again[0], ModelCompiled)
            assert again[0].report_sha256 == events[0].report_sha256
            assert await place.registry.artifacts("digits", "1") == made
            assert answer_of(again).revision == 0, "nobody serves it"

            live = await place.registry.record_deployment(
                "digits", Change("deploy", "ada", "", "1")
            )
            anew = compiling(place, "onnx-cpu", command_id="c-2")
            for _ in range(2):  # nodes follow what is made of what serves; once
                assert answer_of(await commands.do(anew)).revision == live.sequence + 1
            actions = [one.action for one in await place.registry.history("digits")]
            assert actions == ["deploy", "recompile"]

    asyncio.run(run())


def test_compile_that_cannot_be_is_answered_with_its_reason(
    server: EmbeddedPostgres, settings: Settings, tmp_path: Path
) -> None:
    hurried = settings.model_copy(update={"controller": ControllerSettings(compile_within_s=0.05)})

    async def run() -> None:
        async with opened(server) as place:
            await registered(place, settings, tmp_path / "version", b"no graph")
            for tier, own, why in (
                ("onnx-cpu", settings, "model.onnx"),
                ("abacus", settings, "no tier abacus"),
                ("onnx-cpu", hurried, "not done within 0.05 s"),
            ):
                commands = Commands(own, place.database, "us")
                answer = answer_of(await commands.do(compiling(place, tier)))
                assert answer.outcome == "failed"
                assert why in answer.error
            assert await place.registry.artifacts("digits", "1") == []

    asyncio.run(run())
