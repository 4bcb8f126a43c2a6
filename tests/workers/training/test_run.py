"""Whole runs: equal ones end in equal weights, and so does one that was killed and resumed."""

# pyright: reportUnknownVariableType=false
# (safetensors' functions are typed in part)

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from safetensors.numpy import load_file

from chimera.schemas.errors import TrainingAborted, TrainingRefused
from chimera.workers.training import checkpoints, history
from chimera.workers.training.run import train
from chimera.workers.training.synthetic import SyntheticRegressionDataset
from tests.workers.training import hooks
from tests.workers.training.places import config, frame, where

NOISY: dict[str, Any] = {
    "definition": "tests.workers.training.hooks:Noisy",
    "arguments": {"inputs": 4},
}
CHILD = """
import sys
from pathlib import Path
import msgspec
from chimera.schemas.training_config import TrainingConfig
from chimera.workers.training.run import train
from tests.workers.training.places import where
order = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=TrainingConfig)
train(order, where(Path(sys.argv[2]), sys.argv[3]), resume=sys.argv[4] == "resume")
"""


def lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    found = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [one for one in found if one["kind"] == kind]


def test_run_learns_and_says_what_it_did(tmp_path: Path) -> None:
    manifest = train(config(loop={"epochs": 8}), where(tmp_path))
    assert manifest.metrics["r2"] > 0.95
    assert manifest.intervals["r2"].low <= manifest.metrics["r2"] <= manifest.intervals["r2"].high
    assert manifest.is_synthetic
    assert manifest.rows["train"] + manifest.rows["validation"] == 600
    folder = tmp_path / "one"
    assert len(lines(folder, "epoch")) == 8
    assert len(lines(folder, "step")) == manifest.updates == 8 * -(-manifest.rows["train"] // 64)
    assert list(history.read(tmp_path)) == [manifest]
    assert set(load_file(folder / "weights.safetensors")) == {"weight", "bias"}
    best = min(lines(folder, "epoch"), key=lambda one: one["metrics"]["val_loss"])
    assert manifest.metrics["train_loss"] == best["train_loss"]
    (rows,) = SyntheticRegressionDataset.of("synthetic:600,4").chunks(600)
    assert manifest.metrics["data_mean"] == pytest.approx(rows["y"].mean(), abs=1e-6)
    assert manifest.metrics["data_std"] == pytest.approx(rows["y"].std(), rel=1e-2)
    loss = manifest.intervals["val_loss"]
    assert loss.low < manifest.metrics["val_loss"] < loss.high
    assert manifest.metrics["val_loss"] == pytest.approx(best["metrics"]["val_loss"])


def test_order_that_has_no_hash_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    order = config(optimizer={"name": "SGD", "arguments": {"lr": 0.1, "momentum": float("nan")}})
    with pytest.raises(TrainingRefused, match=r"optimizer\.arguments\.momentum: nan"):
        train(order, where(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_manifest_names_the_code_that_is_the_users_own(tmp_path: Path) -> None:
    frame(200).to_csv(tmp_path / "rows.csv", index=False)
    transform = "tests.workers.training.hooks:doubled"
    schema = {"features": ["a", "b"], "target": "y", "transform": transform}
    order = config(
        data={"sources": [str(tmp_path / "rows.csv")], "schema": schema},
        model=NOISY | {"arguments": {"inputs": 2}},
    )
    source = hashlib.sha256(Path(hooks.__file__).read_bytes()).hexdigest()
    manifest = train(order, where(tmp_path / "runs"))
    assert manifest.definitions == {NOISY["definition"]: source, transform: source}
    torchs = train(config(), where(tmp_path / "runs", "torch's"))
    assert list(torchs.definitions) == ["torch.nn:Linear"]


def test_equal_orders_end_in_equal_weights(tmp_path: Path) -> None:
    order = config(model=NOISY)
    first, second = (train(order, where(tmp_path, name)) for name in ("a", "b"))
    other = train(msgspec.structs.replace(order, seed=1), where(tmp_path, "c"))
    assert first.weights_sha256 == second.weights_sha256 != other.weights_sha256
    assert first.config_hash == second.config_hash != other.config_hash
    assert second.previous_run_id == "a"
    assert not any(one.is_drift for one in second.drift_from_previous)


@pytest.mark.parametrize(
    ("kill_at", "every_minutes"), [(3, 1e-9), (12, 1e-9), (20, 1e-9), (3, None)]
)
def test_run_that_was_killed_resumes_to_the_same_weights(
    tmp_path: Path, kill_at: int, every_minutes: float | None
) -> None:
    """The last one before its first checkpoint: it begins anew."""
    arguments = {"inputs": 4, "kill_file": str(tmp_path / "killed"), "kill_at": kill_at}
    order = config(
        model=NOISY | {"arguments": arguments},
        checkpoints={"every_minutes": every_minutes, "keep_last": 2},
    )
    (tmp_path / "order.json").write_bytes(msgspec.json.encode(order))
    command = [sys.executable, "-c", CHILD, str(tmp_path / "order.json"), str(tmp_path / "runs")]
    first = subprocess.run([*command, "killed", "begin"], check=False)
    assert first.returncode == -9
    saved = checkpoints.CheckpointSaver(tmp_path / "runs/killed/checkpoints").newest()
    assert (saved is None) == (every_minutes is None)
    before = {} if saved is None else checkpoints.read(saved)["progress"]
    again = subprocess.run([*command, "killed", "resume"], check=False)
    assert again.returncode == 0
    undisturbed = train(order, where(tmp_path / "runs", "undisturbed"))
    killed = next(one for one in history.read(tmp_path / "runs") if one.run_id == "killed")
    assert killed.weights_sha256 == undisturbed.weights_sha256
    assert killed.updates == undisturbed.updates
    steps = lines(tmp_path / "runs" / "killed", "step")
    assert [one["update"] for one in steps] == list(range(1, killed.updates + 1))
    if before:
        assert killed.started_ms == before["started_ms"]
        assert killed.duration_s > before["elapsed_s"] > 0


def test_pieces_of_a_batch_add_up_to_it(tmp_path: Path) -> None:
    whole = train(config(loop={"grad_clip_norm": None}), where(tmp_path, "whole"))
    loop = {"grad_clip_norm": None, "grad_accum_steps": 5}
    pieces = train(config(loop=loop), where(tmp_path, "pieces"))
    one, other = (
        load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "pieces")
    )
    assert whole.updates == pieces.updates
    assert one["weight"] == pytest.approx(other["weight"], abs=1e-6)


def test_loss_that_is_no_number_is_skipped_counted_and_ends_the_run_with_its_rows(
    tmp_path: Path,
) -> None:
    order = config(
        model={"definition": "tests.workers.training.hooks:Exploding", "arguments": {}},
        loop={"max_nonfinite": 2},
    )
    with pytest.raises(
        TrainingAborted, match=r"update 3: .* rows: synthetic:600,4, row \d+; .*; 32 more$"
    ):
        train(order, where(tmp_path))


@pytest.mark.parametrize("clip", [None, 1.0])
def test_gradient_that_is_no_number_is_skipped_and_leaves_weights_that_are(
    tmp_path: Path, clip: float | None
) -> None:
    order = config(
        model={"definition": "tests.workers.training.hooks:Steep", "arguments": {}},
        loop={"grad_clip_norm": clip, "max_nonfinite": 100},
    )
    manifest = train(order, where(tmp_path))
    assert manifest.nonfinite == manifest.updates
    assert load_file(tmp_path / "one" / "weights.safetensors")["weight"].tolist() == [0.0]


def test_run_stops_early_where_nothing_gets_better(tmp_path: Path) -> None:
    loop = {"epochs": 50, "early_stopping": {"patience": 2, "min_delta": 0.5}}
    manifest = train(config(loop=loop), where(tmp_path))
    assert manifest.epochs < 50


@pytest.mark.parametrize(
    "loop",
    [
        {"ema_decay": 0.5},
        {"use_amp": True},
        {"use_amp": True, "amp_dtype": "float16"},
        {"gradient_checkpointing": True},
    ],
    ids=["ema", "bfloat16", "float16", "checkpointing"],
)
def test_option_of_the_loop_learns_as_well(tmp_path: Path, loop: dict[str, Any]) -> None:
    manifest = train(config(loop={"epochs": 8} | loop), where(tmp_path))
    assert manifest.metrics["r2"] > 0.9


def test_slices_are_told_apart(tmp_path: Path) -> None:
    frame_file = tmp_path / "rows.csv"
    frame(200).to_csv(frame_file, index=False)
    order = config(
        data={
            "sources": [str(frame_file)],
            "schema": {"features": ["a", "b"], "target": "y"},
        },
        model={"definition": "torch.nn:Linear", "arguments": {"in_features": 2, "out_features": 1}},
        evaluation={"slice": "group"},
    )
    manifest = train(order, where(tmp_path))
    assert set(manifest.slices) == {"high", "low"}
    assert sum(one.rows for one in manifest.slices.values()) == manifest.rows["validation"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": {"definition": "os:system"}}, "is not in CHIMERA_TRAINING__ALLOWED"),
        ({"model": {"arguments": {"inputs": 3}}}, r"model\.arguments"),
        ({"model": {"method": "dream"}}, r"model\.method"),
        ({"loss": {"name": "bce"}}, r"loss\.name 'bce': regression has mse"),
        ({"loss": {"arguments": {"delta": 1}}}, r"loss\.arguments of mse"),
        ({"optimizer": {"name": "Optimizer"}}, r"optimizer\.name"),
        ({"optimizer": {"arguments": {"speed": 1}}}, r"optimizer\.arguments"),
        ({"scheduler": {"name": "LRScheduler2"}}, r"scheduler\.name"),
        ({"loss": {"arguments": {"reduction": "sum"}}}, r"loss\.arguments 'reduction'"),
        ({"evaluation": {"metrics": ["f1"]}}, r"evaluation\.metrics 'f1'"),
        (
            {"evaluation": {"best": "acuracy"}},
            r"evaluation\.best 'acuracy': an epoch tells eval_mse",
        ),
        ({"evaluation": {"best": "r2", "metrics": ["mae"]}}, r"evaluation\.best 'r2'"),
        (
            {"loop": {"early_stopping": {"metric": "valloss"}}},
            r"loop\.early_stopping\.metric 'vall",
        ),
        ({"model": {"definition": "torch.nn:Bilinear"}}, "is not in"),
    ],
)
def test_order_that_cannot_be_is_refused_by_its_field(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    """Before its data are read: there are none."""
    order = config(data={"sources": [str(tmp_path / "missing.csv")]}, **changes)
    with pytest.raises(TrainingRefused, match=reason):
        train(order, where(tmp_path))


def test_run_is_begun_once_and_resumed_with_its_own_order(tmp_path: Path) -> None:
    with pytest.raises(TrainingRefused, match="never begun"):
        train(config(), where(tmp_path), resume=True)
    train(config(), where(tmp_path))
    with pytest.raises(TrainingRefused, match="exists"):
        train(config(), where(tmp_path))
    with pytest.raises(TrainingRefused, match="another configuration"):
        train(config(seed=1), where(tmp_path), resume=True)


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="no C++ compiler")
@pytest.mark.filterwarnings(  # torch, of the very first release of 3.13
    "ignore:Guards may run slower on Python 3.13.0:RuntimeWarning"
)
@pytest.mark.timeout(300)
def test_compiled_run_learns_what_another_one_learns(tmp_path: Path) -> None:
    made = [
        train(config(loop={"epochs": 2, "compile": one}), where(tmp_path, f"compiled-{one}"))
        for one in (False, True)
    ]
    plain, compiled = (load_file(tmp_path / one.run_id / "weights.safetensors") for one in made)
    assert plain.keys() == compiled.keys()
    for name, weight in plain.items():
        assert compiled[name] == pytest.approx(weight, rel=1e-4)
    assert made[1].metrics["r2"] == pytest.approx(made[0].metrics["r2"], rel=1e-4)


def test_compiling_without_a_compiler_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TrainingRefused, match=r"no C\+\+ compiler"):
        train(config(loop={"compile": True}), where(tmp_path))
