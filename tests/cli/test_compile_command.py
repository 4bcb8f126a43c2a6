"""`chimera models compile NAME VERSION`: a record on models.commands, done by a real controller."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chimera.cli.main import app
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.stores.artifacts import Artifacts
from chimera.stores.registry.states import tiers_of
from tests.agents.controlling.stage import Stage, staged, steered
from tests.agents.controlling.test_compilation import registered, sums

pytestmark = pytest.mark.timeout(120)  # a process that compiles, on a busy machine


@pytest.fixture(autouse=True)
def environment(kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("KAFKA__BOOTSTRAP", kafka),
        ("KAFKA__TOPIC_PREFIX", prefix),
        ("ARTIFACTS__URL", str(tmp_path / "artifacts")),
        ("COMPILING__MEASURE_S", "0.02"),
        ("COMPILING__BATCH_SIZES", "[1, 4]"),
    ):
        monkeypatch.setenv(f"CHIMERA_{name}", value)


async def compile(stage: Stage, *arguments: str) -> tuple[int, str]:
    whole = ["models", "compile", *arguments, "--tenant", stage.tenant]
    done = await asyncio.to_thread(lambda: CliRunner().invoke(app, whole))
    return done.exit_code, done.output


def test_compile_is_done_by_the_controller_and_told_step_by_step(
    server: EmbeddedPostgres, kafka: str, prefix: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with staged(server, kafka, prefix, tmp_path) as stage:
            await registered(stage.place, stage.settings, tmp_path / "version", sums())
            async with steered(stage):
                status, out = await compile(stage, "digits", "1", "--tiers", "onnx-cpu")
                assert status == 0, out
                for stage_of in ("making", "loading", "verifying", "verified"):
                    assert f"onnx-cpu: {stage_of}\n" in out
                assert "batch 4: onnx-cpu" in out
                made = await stage.place.registry.artifacts("digits", "1")
                assert {one.tier for one in made} == {"onnx-cpu"}  # no row of what nobody asked
                graph = {one.tier: one for one in tiers_of(made)}["onnx-cpu"]
                store = Artifacts(stage.settings.artifacts.url, tmp_path / "cache")
                assert store.has(graph.sha256)

                status, out = await compile(stage, "nobody", "1")
                assert (status, "no model nobody is registered" in out) == (1, True)
                status, out = await compile(stage, "no/name", "1")
                assert (status, "no/name" in out or "model" in out) == (1, True)

                (blob,) = (tmp_path / "artifacts" / "blobs").rglob(
                    (await stage.place.registry.version("digits", "1")).manifest.sha256
                )
                blob.chmod(0o600)
                blob.write_bytes(b"other")
                status, out = await compile(stage, "digits", "1")
                assert (status, "holds other bytes" in out) == (1, True)

    asyncio.run(run())


def test_compile_without_a_controller_has_no_answer_in_time(
    server: EmbeddedPostgres, kafka: str, prefix: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with staged(server, kafka, prefix, tmp_path) as stage:
            status, out = await compile(stage, "digits", "1", "--timeout", "0.2")
            assert (status, "no answer" in out) == (2, True)

    asyncio.run(run())


def test_options_of_a_folder_are_none_of_a_registered_version(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["models", "compile", "digits", "1", "--out", str(tmp_path)])
    assert done.exit_code == 2
