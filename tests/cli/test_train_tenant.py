"""Whoever says whose runs they mean is shown those, and no others: of that tenant's folder, and of the registry."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from typer.testing import CliRunner, Result

from chimera.cli.main import app
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.model_settings import KeysSettings
from chimera.schemas.training_manifest import TrainingManifest
from chimera.stores import keys
from chimera.stores.registry import training_runs
from chimera.stores.registry.training_runs import Ending, NewRun
from chimera.workers.training import recording
from chimera.workers.training.folder import runs_of
from tests.stores.places import opened
from tests.workers.training.places import config
from tests.workers.training.test_history import run

if TYPE_CHECKING:
    from chimera.schemas.signing import SigningKey

WEIGHTS = b"weights"


@pytest.fixture
def tenant(server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """With two runs here, of which the first is signed, and one that the registry alone has."""
    signing = tmp_path / "signing.pem"
    monkeypatch.setenv("CHIMERA_POSTGRES__DSN", server.dsn)
    monkeypatch.setenv("CHIMERA_KEYS__SIGNING_FILE", str(signing))
    monkeypatch.setenv("CHIMERA_TRAINING__DIR", str(tmp_path / "runs"))
    key = keys.create(KeysSettings(signing_file=signing))
    name = asyncio.run(registered(server, run("c", 3.0)))
    runs = runs_of(tmp_path / "runs", name)
    record(runs, run("a", 2.0), key)
    record(runs, run("b", 1.0), None)
    return name


def record(runs: Path, manifest: TrainingManifest, key: "SigningKey | None") -> None:
    folder = runs / manifest.run_id
    (folder / "data" / "train").mkdir(parents=True)
    (folder / "data" / "train" / "features.bin").write_bytes(bytes(1_000_000))
    (folder / "config.json").write_bytes(msgspec.json.encode(config(seed=ord(manifest.run_id))))
    (folder / "weights.safetensors").write_bytes(WEIGHTS)
    sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    recording.record(runs, msgspec.structs.replace(manifest, weights_sha256=sha256), key)


async def registered(server: EmbeddedPostgres, manifest: TrainingManifest) -> str:
    """A tenant of its own that has this finished run."""
    order = NewRun(
        run_id=manifest.run_id,
        trigger_id=manifest.run_id,
        trigger="{}",
        model=manifest.name,
        actor="ada",
        reason="manual",
        priority=5,
        config=msgspec.json.encode(config()).decode(),
        until="registered",
    )
    async with opened(server) as place, place.database.tenant(place.tenant.id) as connection:
        await training_runs.add(connection, place.tenant.id, order)
        taken = await training_runs.claim(connection, "us", 60, "cpu")
        assert taken is not None
        ending = Ending(state="finished", manifest=manifest, stage="released")
        assert await training_runs.end(connection, taken, ending)
        return place.tenant.name


def train(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["train", *arguments])


def test_runs_of_a_tenant_are_listed_shown_ranked_and_compared(tenant: str, tmp_path: Path) -> None:
    asked = ("--tenant", tenant)
    listed = train("runs", *asked).stdout
    assert [line.split()[0] for line in listed.splitlines()[3:] if line.strip()] == ["c", "b", "a"]
    assert "ordered" in train("show", "c", *asked).stdout
    assert "line, run a" in train("show", "a", *asked).stdout
    board = train("leaderboard", *asked).stdout.splitlines()
    assert [line.split()[1] for line in board[:-1]] == ["b", "a", "c"]
    assert Path(board[-1]).parent == tmp_path / "runs" / ".tenants" / tenant
    compared = train("compare", "a", "b", *asked).stdout
    assert "seed" in compared
    assert "eval_mse" in compared


def test_manifest_and_gate_are_of_the_tenants_runs(tenant: str) -> None:
    asked = ("--tenant", tenant)
    shown = train("manifest", "a", "--signed", *asked)
    assert "manifest and weights are those" in shown.stderr
    assert json.loads(shown.stdout)["run_id"] == "a"
    assert json.loads(train("manifest", "c", *asked).stdout)["run_id"] == "c"
    assert train("gate", *asked).stdout.startswith("b: taken")
    assert train("gate", "--signed", *asked).stdout.startswith("a: taken")


def test_data_of_one_tenant_are_pruned_or_everybodys(tenant: str) -> None:
    assert train("prune", "--older", "0s", "--tenant", "default").stdout.endswith(
        "of 0 finished runs\n"
    )
    assert train("prune", "--older", "0s", "--tenant", tenant).stdout.startswith("a ")
    assert "of 2 finished runs" in train("prune", "--older", "0s").stdout


@pytest.mark.parametrize(
    "command", [["runs"], ["show", "a"], ["leaderboard"], ["gate", "a"], ["manifest", "c"]]
)
def test_tenant_that_there_is_not_is_told(tenant: str, command: list[str]) -> None:
    asked = train(*command, "--tenant", f"{tenant}x")
    assert (asked.exit_code, f"has no tenant {tenant}x" in asked.stderr) == (1, True)


@pytest.mark.parametrize("command", ["runs", "leaderboard", "gate", "prune"])
def test_tenant_is_a_name_and_no_path(command: str) -> None:
    asked = train(command, "--tenant", "../elsewhere")
    assert (asked.exit_code, "is no name" in asked.stderr) == (2, True)


def test_runs_of_default_are_no_tenants(tenant: str) -> None:
    assert "there is no finished run a" in train("show", "a").stderr
    assert train("manifest", "a").exit_code == 1
