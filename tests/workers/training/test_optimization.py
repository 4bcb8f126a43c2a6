"""The rate rises to its own, then follows the schedule from its beginning; every name does its steps."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from chimera.schemas.errors import TrainingRefused
from chimera.schemas.training_config import Optimizer, Scheduler
from chimera.workers.training.names import OPTIMIZERS, SCHEDULERS, UNFIT, exported, usable
from chimera.workers.training.optimization import optimizer, schedule
from chimera.workers.training.run import train
from tests.workers.training.places import config, where

NEEDED: dict[str, dict[str, Any]] = {  # arguments that torch has no defaults for
    "StepLR": {"step_size": 3},
    "MultiStepLR": {"milestones": [3, 6]},
    "ExponentialLR": {"gamma": 0.99},
    "CosineAnnealingLR": {"T_max": 24},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "cycle_momentum": False},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": 24, "cycle_momentum": False},
}
FLAT = {"in_features": 4, "out_features": 1, "bias": False}  # Muon is for matrices alone


def rates(wanted: Scheduler, updates: int) -> list[float]:
    made = optimizer(
        Optimizer(name="SGD", arguments={"lr": 1.0}), torch.nn.Linear(1, 1).parameters()
    )
    planned = schedule(wanted, made)
    assert planned is not None
    found: list[float] = []
    for _ in range(updates):
        found.append(made.param_groups[0]["lr"])
        made.step()
        planned.step()
    return found


def test_rate_stays_without_a_schedule() -> None:
    made = optimizer(
        Optimizer(name="SGD", arguments={"lr": 1.0}), torch.nn.Linear(1, 1).parameters()
    )
    assert schedule(Scheduler(), made) is None


def test_rate_rises_in_equal_steps_to_its_own() -> None:
    assert rates(Scheduler(warmup_steps=3), 6) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_schedule_begins_when_the_warm_up_is_over() -> None:
    wanted = Scheduler(name="CosineAnnealingLR", arguments={"T_max": 4}, warmup_steps=2)
    cosine = [(1 + math.cos(math.pi * at / 4)) / 2 for at in range(4)]
    assert rates(wanted, 6) == pytest.approx([1 / 3, 2 / 3, *cosine])


@pytest.mark.parametrize("name", usable(OPTIMIZERS))
def test_every_optimizer_that_is_accepted_changes_weights_and_is_saved(
    tmp_path: Path, name: str
) -> None:
    order = config(model={"arguments": FLAT}, optimizer={"name": name, "arguments": {}})
    assert train(order, where(tmp_path)).updates == 24


@pytest.mark.parametrize("warmup_steps", [0, 2])
@pytest.mark.parametrize("name", usable(SCHEDULERS))
def test_every_schedule_that_is_accepted_follows_a_run_to_its_end(
    tmp_path: Path, name: str, warmup_steps: int
) -> None:
    wanted = {"name": name, "arguments": NEEDED.get(name, {}), "warmup_steps": warmup_steps}
    assert train(config(scheduler=wanted), where(tmp_path)).updates == 24


@pytest.mark.parametrize("name", sorted(UNFIT))
def test_what_the_loop_cannot_step_is_refused_before_data_are_read(
    tmp_path: Path, name: str
) -> None:
    part = "optimizer" if name in exported(OPTIMIZERS) else "scheduler"
    missing = {"sources": [str(tmp_path / "missing.csv")]}
    order = config(data=missing, **{part: {"name": name, "arguments": {}}})
    with pytest.raises(TrainingRefused, match=rf"{part}\.name '{name}'"):
        train(order, where(tmp_path))


@pytest.mark.parametrize(
    "length", [{"total_steps": 21}, {"epochs": 3, "steps_per_epoch": 7}], ids=["steps", "epochs"]
)
def test_schedule_that_ends_before_the_run_is_refused_before_its_first_update(
    tmp_path: Path, length: dict[str, Any]
) -> None:
    arguments = {"max_lr": 0.1, "cycle_momentum": False, **length}
    wanted = {"name": "OneCycleLR", "arguments": arguments, "warmup_steps": 2}
    with pytest.raises(TrainingRefused, match="21 steps after 2 .* the run's 24 updates"):
        train(config(scheduler=wanted), where(tmp_path, "short"))
    enough = wanted | {"warmup_steps": 3}
    assert train(config(scheduler=enough), where(tmp_path, "enough")).updates == 24
