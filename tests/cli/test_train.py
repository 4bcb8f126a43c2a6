"""`chimera train`, as people type it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from chimera.cli.main import app

ORDER = """
name: line
task: regression
data:
  sources: ["synthetic:400,3"]
  schema: {features: ["x*"], target: y}
model: {definition: "torch.nn:Linear", arguments: {in_features: 3, out_features: 1}}
loss: {name: mse}
optimizer: {name: SGD, arguments: {lr: 0.1}}
loop: {epochs: 4, batch_size: 32, threads: 1}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With two finished runs."""
    folder = tmp_path_factory.mktemp("training")
    (folder / "order.yaml").write_text(ORDER)
    (folder / "other.yaml").write_text(ORDER.replace("lr: 0.1", "lr: 0.001"))
    for name, order in (("good", "order"), ("poor", "other")):
        result = chimera(folder, "run", str(folder / f"{order}.yaml"), "--run-id", name)
        assert result.exit_code == 0, result.output
        assert "epoch 4 of 4" in result.stderr
        assert "r2" in result.stdout
    return folder


def chimera(folder: Path, *arguments: str) -> Result:
    environment = {
        "CHIMERA_TRAINING__DIR": str(folder / "runs"),
        "CHIMERA_TRAINING__ALLOWED": '["torch.nn:Linear"]',
    }
    return CliRunner().invoke(app, ["train", *arguments], env=environment)


def test_runs_are_listed_and_shown(folder: Path) -> None:
    listed = chimera(folder, "runs").stdout
    assert "good" in listed
    assert "poor" in listed
    assert "held out" in chimera(folder, "show", "good").stdout
    assert json.loads(chimera(folder, "manifest", "poor").stdout)["previous_run_id"] == "good"


def test_leaderboard_is_shown_and_written(folder: Path) -> None:
    shown = chimera(folder, "leaderboard").stdout.splitlines()
    assert shown[0].split()[:2] == ["1", "good"]
    assert shown[1].split()[:2] == ["2", "poor"]
    written = json.loads((folder / "runs" / "leaderboard.json").read_text())
    assert [one["run_id"] for one in written] == ["good", "poor"]


def test_gate_takes_and_refuses_with_its_reasons(folder: Path) -> None:
    assert (
        chimera(folder, "gate", "good", "--metric", "r2", "--max", "--least", "0.9").exit_code == 0
    )
    refused = chimera(folder, "gate", "poor", "--metric", "r2", "--max", "--least", "0.9")
    assert refused.exit_code == 1
    assert "does not reach 0.9" in refused.stderr
    assert "it has no f1" in chimera(folder, "gate", "good", "--metric", "f1").stderr


def test_what_cannot_be_is_refused_on_standard_error(folder: Path, tmp_path: Path) -> None:
    again = chimera(folder, "run", str(folder / "order.yaml"), "--run-id", "good")
    assert (again.exit_code, "exists" in again.stderr) == (1, True)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(ORDER + "speed: 3\n")
    assert "unknown field `speed`" in chimera(folder, "run", str(wrong)).stderr
    assert "there is no finished run x" in chimera(folder, "show", "x").stderr
