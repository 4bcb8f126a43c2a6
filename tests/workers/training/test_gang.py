"""Two real processes under torchrun: one is killed, both go on, and weights are those of one process."""

# pyright: reportUnknownVariableType=false
# (safetensors' functions are typed in part)

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from chimera.schemas.errors import TrainingRefused
from chimera.workers.training import gang, history
from chimera.workers.training.run import train
from tests.workers.training.places import ALLOWED, config, where

STEADY: dict[str, Any] = {"inputs": 4, "dropout": 0.0}
pytestmark = pytest.mark.timeout(300)  # each start imports torch several times
TOLERANCE = 1e-5  # sums over rows in another order, float32, after 24 updates


def order(runs: Path, run_id: str, **changes: Any) -> gang.Order:
    return gang.Order(
        config=config(**changes),
        runs=str(runs),
        run_id=run_id,
        allowed=ALLOWED,
        device="cpu",
        resident_bytes=1 << 28,
    )


def module(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"definition": "tests.workers.training.hooks:Noisy", "arguments": arguments}


@pytest.mark.campaign
def test_two_processes_one_killed_end_in_the_weights_of_one_process(tmp_path: Path) -> None:
    killed = STEADY | {"kill_file": str(tmp_path / "killed"), "kill_at": 12}
    heard: list[dict[str, Any]] = []
    two = gang.launch(
        order(tmp_path, "two", model=module(killed)),
        2,
        restarts=1,
        listeners=(heard.append,),
    )
    assert (tmp_path / "killed").exists()
    one = train(config(model=module(STEADY)), where(tmp_path, "one"))
    assert (two.processes, one.processes) == (2, 1)
    assert two.updates == one.updates == 24
    weights = [load_file(tmp_path / name / "weights.safetensors") for name in ("two", "one")]
    for name, found in weights[0].items():
        assert np.abs(found - weights[1][name]).max() < TOLERANCE
    assert two.metrics["eval_mse"] == pytest.approx(one.metrics["eval_mse"], abs=TOLERANCE)
    assert [found.run_id for found in history.read(tmp_path)] == ["two", "one"]
    assert "finished" in {line["kind"] for line in heard}


def test_run_that_is_refused_is_not_tried_again(tmp_path: Path) -> None:
    """The first member finds it, while the other waits for the data that it was to prepare."""
    data = {"sources": [str(tmp_path / "missing.csv")]}
    with pytest.raises(TrainingRefused, match=r"missing\.csv: there is no such file"):
        gang.launch(order(tmp_path, "no", data=data), 2, restarts=3)
    assert (tmp_path / "no" / "members.log").read_text().count("Starting") <= 1
    with pytest.raises(TrainingRefused, match="exists"):
        gang.launch(order(tmp_path, "no"), 2)
