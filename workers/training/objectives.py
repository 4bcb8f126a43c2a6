"""Losses by name, over one batch: the mean over its rows.

    regression   mse, mae, huber            [rows] or [rows, columns] numbers
    binary       bce                        [rows] logits, targets 0 and 1
    multiclass   cross_entropy              [rows, classes] logits, whole targets
    embedding    supervised_contrastive     [rows, width], rows of one class belong together

Arguments are torch's own, but for `reduction`. Supervised contrastive after Khosla et al. 2020, equation 2.
`tests/workers/training/test_objectives.py`.
"""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from chimera.schemas.errors import TrainingRefused
from chimera.schemas.training_config import Loss, Task

Objective = Callable[[Tensor, Tensor], Tensor]
REDUCTIONS = ("reduction", "reduce", "size_average")  # pieces of a batch are weighed as means


def objective(task: Task, loss: Loss) -> Objective:
    """`(outputs, targets) -> loss`, a scalar.

    Raises:
        TrainingRefused: the task has no such loss, or it takes no such argument.
    """
    found = LOSSES[task].get(loss.name)
    if found is None:
        raise TrainingRefused(f"loss.name {loss.name!r}: {task} has {', '.join(LOSSES[task])}")
    for name in REDUCTIONS:
        if name in loss.arguments:
            raise TrainingRefused(f"loss.arguments {name!r}: a loss is the mean over its rows")
    made: Objective = partial(found, **loss.arguments)
    try:
        made(*_example(task))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TrainingRefused(f"loss.arguments of {loss.name}: {error}") from None
    return made


def row_losses(task: Task, loss: Loss) -> Objective:
    """`(outputs, targets) -> [rows]`: each row's part, whose mean is what `objective` gives."""
    whole = objective(task, loss)
    each = partial(LOSSES[task][loss.name], **loss.arguments, reduction="none")

    def found(outputs: Tensor, targets: Tensor) -> Tensor:
        rows = each(outputs, targets).reshape(len(targets), -1).mean(1)
        mean = rows.mean()  # over all rows: the loss may count fewer, those alone in their class
        return rows * (whole(outputs, targets) / mean) if mean else rows

    return found


def supervised_contrastive(
    outputs: Tensor, targets: Tensor, temperature: float = 0.1, reduction: str = "mean"
) -> Tensor:
    """Rows of one class are drawn together, others apart; a row alone in its class counts nothing."""
    directions = functional.normalize(outputs, dim=1)
    likeness = directions @ directions.T / temperature
    itself = torch.eye(len(targets), dtype=torch.bool, device=outputs.device)
    log_share = likeness - torch.logsumexp(likeness.masked_fill(itself, -torch.inf), 1, True)
    belongs = (targets[:, None] == targets[None, :]) & ~itself
    count = belongs.sum(1)
    found = -(log_share * belongs).sum(1) / count.clamp(min=1)
    if reduction == "none":
        return found
    return found.sum() / (count > 0).sum().clamp(min=1)


def _shaped(loss: Callable[..., Tensor], outputs: Tensor, targets: Tensor, **more: Any) -> Tensor:
    """Outputs [rows, 1] are as good as [rows]; torch would broadcast them against targets."""
    if outputs.ndim == targets.ndim + 1 and outputs.shape[-1] == 1:
        outputs = outputs.squeeze(-1)
    if outputs.shape != targets.shape:
        raise TrainingRefused(
            f"the model's output has the shape {tuple(outputs.shape)}, "
            f"the targets' is {tuple(targets.shape)}"
        )
    return loss(outputs, targets, **more)


def _example(task: Task) -> tuple[Tensor, Tensor]:
    """Two rows."""
    if task in ("regression", "binary"):
        return torch.zeros(2), torch.zeros(2)
    return torch.eye(2), torch.tensor([0, 1])


LOSSES: dict[Task, dict[str, Callable[..., Tensor]]] = {
    "regression": {
        "mse": partial(_shaped, functional.mse_loss),
        "mae": partial(_shaped, functional.l1_loss),
        "huber": partial(_shaped, functional.huber_loss),
    },
    "binary": {"bce": partial(_shaped, functional.binary_cross_entropy_with_logits)},
    "multiclass": {"cross_entropy": functional.cross_entropy},
    "embedding": {"supervised_contrastive": supervised_contrastive},
}
