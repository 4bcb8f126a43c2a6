"""The rate rises to its own, then follows the schedule from its beginning."""

import math

import pytest
import torch

from chimera.schemas.training_config import Optimizer, Scheduler
from chimera.workers.training.optimization import optimizer, schedule


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
