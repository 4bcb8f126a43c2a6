"""`chimera train`, as people type it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from chimera.cli.main import app
from chimera.schemas.model_settings import KeysSettings
from chimera.stores import keys

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
    """With two finished runs, of which the second is signed."""
    folder = tmp_path_factory.mktemp("training")
    (folder / "order.yaml").write_text(ORDER)
    (folder / "other.yaml").write_text(ORDER.replace("lr: 0.1", "lr: 0.001"))
    for name, order in (("good", "order"), ("poor", "other")):
        if name == "poor":
            keys.create(KeysSettings(signing_file=folder / "keys" / "signing.pem"))
        result = chimera(folder, "run", str(folder / f"{order}.yaml"), "--run-id", name)
        assert result.exit_code == 0, result.output
        assert "epoch 4 of 4" in result.stderr
        assert "r2" in result.stdout
    return folder


def chimera(folder: Path, *arguments: str) -> Result:
    environment = {
        "CHIMERA_KEYS__SIGNING_FILE": str(folder / "keys" / "signing.pem"),
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


def test_gate_picks_the_best_and_compares_with_another(folder: Path) -> None:
    picked = chimera(folder, "gate", "--metric", "r2", "--max", "--name", "line")
    assert picked.stdout.startswith("good: taken, r2")
    assert chimera(folder, "gate", "good", "--than", "poor").exit_code == 0
    assert "is worse than" in chimera(folder, "gate", "poor", "--than", "good").stderr
    none = chimera(folder, "gate", "--synthetic")
    assert (none.exit_code, "none of 2 runs is taken" in none.stderr) == (1, True)


def test_gate_takes_what_a_trusted_key_has_signed_and_nothing_else(folder: Path) -> None:
    assert chimera(folder, "gate", "poor", "--signed").stdout.startswith("poor: taken")
    unsigned = chimera(folder, "gate", "good", "--signed")
    assert (unsigned.exit_code, "is no signature" in unsigned.stderr) == (1, True)
    assert chimera(folder, "gate", "--signed").stdout.startswith("poor: taken")
    than = chimera(folder, "gate", "--signed", "--than", "good")
    assert (than.exit_code, "run good: is no signature" in than.stderr) == (1, True)
    weights = folder / "runs" / "poor" / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    changed = chimera(folder, "gate", "poor", "--signed")
    weights.write_bytes(whole)
    assert (changed.exit_code, "has not the digest" in changed.stderr) == (1, True)


def test_runs_of_several_models_are_ranked_apart(folder: Path, tmp_path: Path) -> None:
    lines = (folder / "runs" / "history.jsonl").read_bytes().splitlines()
    stranger = lines[0].replace(b'"name":"line"', b'"name":"other"')
    lines.append(stranger.replace(b'"run_id":"good"', b'"run_id":"strange"'))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "history.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    for command in ("leaderboard", "gate"):
        asked = chimera(tmp_path, command)
        assert (asked.exit_code, "--name line or other" in asked.stderr) == (2, True)
    board = chimera(tmp_path, "leaderboard", "--name", "other").stdout.splitlines()
    assert [line.split()[1] for line in board[:-1]] == ["strange"]
    picked = chimera(tmp_path, "gate", "--name", "other")
    assert picked.stdout.startswith("strange: taken")
    assert (
        "run of line, not of other" in chimera(tmp_path, "gate", "strange", "--than", "good").stderr
    )


def test_data_of_finished_runs_are_pruned_and_what_vouches_for_them_stays(folder: Path) -> None:
    data = folder / "runs" / "poor" / "data" / "train"
    assert "of 0 finished runs" in chimera(folder, "prune").stdout
    assert data.exists()
    pruned = chimera(folder, "prune", "--older", "0s").stdout.splitlines()
    assert [line.split()[0] for line in pruned[:-1]] == ["good", "poor"]
    assert not data.exists()
    assert chimera(folder, "prune", "--older", "0s").stdout == "0.0 MB of 2 finished runs\n"
    assert chimera(folder, "manifest", "poor", "--signed").exit_code == 0


def test_manifest_is_verified_and_what_was_changed_is_refused(folder: Path) -> None:
    assert "not signed" in chimera(folder, "manifest", "good").stderr
    assert chimera(folder, "manifest", "good", "--signed").exit_code == 1
    signed = chimera(folder, "manifest", "poor")
    assert signed.exit_code == 0, signed.stderr
    assert "signed by" in signed.stderr
    history = folder / "runs" / "history.jsonl"
    whole = history.read_bytes()
    history.write_bytes(whole.replace(b'"seed":0', b'"seed":1'))
    changed = chimera(folder, "manifest", "poor")
    history.write_bytes(whole)
    assert (changed.exit_code, "is not over this" in changed.stderr) == (1, True)


def test_runs_are_compared_by_their_orders_and_curves(folder: Path) -> None:
    picture = folder / "curves.png"
    result = chimera(folder, "compare", "good", "poor", "--plot", str(picture))
    assert result.exit_code == 0, result.stderr
    (row,) = (line for line in result.stdout.splitlines() if "optimizer.arguments.lr" in line)
    assert row.split()[1:] == ["0.1", "0.001"]
    (curve,) = (
        line
        for line in result.stdout.splitlines()
        if line.startswith("val_loss") and "good" in line and "█" in line
    )
    assert " to " in curve
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "there is no run x" in chimera(folder, "compare", "good", "x").stderr


def test_what_cannot_be_is_refused_on_standard_error(folder: Path, tmp_path: Path) -> None:
    again = chimera(folder, "run", str(folder / "order.yaml"), "--run-id", "good")
    assert (again.exit_code, "exists" in again.stderr) == (1, True)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(ORDER + "speed: 3\n")
    assert "unknown field `speed`" in chimera(folder, "run", str(wrong)).stderr
    assert "there is no finished run x" in chimera(folder, "show", "x").stderr
