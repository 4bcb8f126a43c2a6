"""A checkpoint is whole or not there, holds what it was given, and the best and last ones stay."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (torch's functions are typed in part)

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from chimera.schemas.errors import TrainingRefused
from chimera.workers.training import checkpoints, randomness
from chimera.workers.training.checkpoints import CheckpointSaver

STATE: dict[str, Any] = {
    "model": {"weight": torch.arange(6.0).reshape(2, 3), "shared": torch.ones(2)},
    "optimizer": {
        "state": {0: {"step": torch.tensor(3.0), "m": torch.zeros(2)}},
        "groups": [{"lr": 0.1}],
    },
    "nothing": None,
    "numbers": [1, 2.5, True, "text"],
}


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    saver = CheckpointSaver(tmp_path)
    found = checkpoints.read(saver.save(3, STATE))
    assert set(found) == set(STATE)
    assert torch.equal(found["model"]["weight"], STATE["model"]["weight"])
    assert torch.equal(found["optimizer"]["state"][0]["step"], torch.tensor(3.0))
    assert found["optimizer"]["groups"] == [{"lr": 0.1}]
    assert (found["nothing"], found["numbers"]) == (None, [1, 2.5, True, "text"])


def test_best_and_last_ones_stay(tmp_path: Path) -> None:
    saver = CheckpointSaver(tmp_path, keep_last=2)
    for update in range(1, 7):
        saver.save(update, STATE, is_best=update == 2)
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "00000002",
        "00000005",
        "00000006",
        "best",
    ]
    assert saver.best() == tmp_path / "00000002"
    assert saver.newest() == tmp_path / "00000006"


def test_writer_that_is_killed_leaves_whole_ones_alone(tmp_path: Path) -> None:
    code = (
        "import os, sys, torch\nfrom pathlib import Path\n"
        "from chimera.workers.training import checkpoints\n"
        "saver = checkpoints.CheckpointSaver(Path(sys.argv[1]))\n"
        "saver.save(1, {'w': torch.ones(3)})\n"
        "checkpoints._sync = lambda path: os.kill(os.getpid(), 9)\n"
        "saver.save(2, {'w': torch.zeros(3)})\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert ended.returncode == -9
    saver = CheckpointSaver(tmp_path)
    newest = saver.newest()
    assert newest is not None
    assert torch.equal(checkpoints.read(newest)["w"], torch.ones(3))
    saver.save(2, STATE)
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


def test_best_one_is_known_though_its_writer_was_killed_before_it_marked_it(tmp_path: Path) -> None:
    code = (
        "import os, sys, torch\nfrom pathlib import Path\n"
        "from chimera.workers.training import checkpoints\n"
        "saver = checkpoints.CheckpointSaver(Path(sys.argv[1]))\n"
        "saver.save(1, {'w': torch.ones(3)}, is_best=True)\n"
        "saver.save(2, {'w': torch.ones(3)})\n"
        "saver._mark_best = lambda target: os.kill(os.getpid(), 9)\n"
        "saver.save(3, {'w': torch.zeros(3)}, is_best=True)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert ended.returncode == -9
    assert (tmp_path / "best").resolve().name == "00000001"
    saver = CheckpointSaver(tmp_path)
    assert saver.newest() == saver.best() == tmp_path / "00000003"
    saver.save(4, STATE)
    saver.save(5, STATE)
    assert CheckpointSaver(tmp_path).best() == tmp_path / "00000003"


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff" * 64])
def test_damaged_one_is_refused(tmp_path: Path, name: str, damage: bytes) -> None:
    folder = CheckpointSaver(tmp_path).save(1, STATE)
    (folder / name).write_bytes(damage)
    if (name, damage) == ("state.json", b"{}"):
        assert (
            checkpoints.read(folder) == {}
        )  # it is one, of nothing; who loads it misses its parts
        return
    with pytest.raises(TrainingRefused, match="no whole checkpoint"):
        checkpoints.read(folder)


def test_what_needs_a_pickle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"\.model: a checkpoint holds no object"):
        CheckpointSaver(tmp_path).save(1, {"model": object()})


def test_generators_go_on_where_they_were(tmp_path: Path) -> None:
    randomness.seed(7, deterministic=False)
    folder = CheckpointSaver(tmp_path).save(1, {"rng": randomness.state()})
    first: list[float] = torch.rand(3).tolist()
    randomness.restore(checkpoints.read(folder)["rng"])
    assert torch.rand(3).tolist() == first
