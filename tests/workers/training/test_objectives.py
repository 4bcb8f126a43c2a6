"""Losses: by task, shapes that would be broadcast are refused, and the contrastive one by hand."""

import math

import pytest
import torch

from chimera.schemas.errors import TrainingRefused
from chimera.schemas.training_config import Loss, Task
from chimera.workers.training.objectives import LOSSES, objective, supervised_contrastive


@pytest.mark.parametrize(
    ("task", "name"), [(task, name) for task in LOSSES for name in LOSSES[task]]
)
def test_loss_has_a_gradient(task: Task, name: str) -> None:
    is_classes = task in ("multiclass", "embedding")
    outputs = torch.randn(6, 3 if is_classes else 1, requires_grad=True)
    targets = torch.arange(6) % 2 if is_classes else (torch.arange(6) % 2).float()
    torch.autograd.backward(objective(task, Loss(name=name))(outputs, targets))
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()
    assert outputs.grad.abs().sum() > 0


def test_outputs_of_another_shape_are_refused_and_not_broadcast() -> None:
    with pytest.raises(TrainingRefused, match=r"\(4, 2\), the targets' is \(4,\)"):
        objective("regression", Loss(name="mse"))(torch.zeros(4, 2), torch.zeros(4))


def test_contrastive_loss_is_that_of_an_example() -> None:
    outputs = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    found = supervised_contrastive(outputs, torch.tensor([0, 0, 1]), temperature=1.0)
    assert float(found) == pytest.approx(math.log(math.e + 1) - 1)
