"""Optimiser and learning rate by torch's own names.

A warm-up comes before the schedule, which begins when it is over; what needs more than its arguments and
a step is refused. `tests/workers/training/test_optimization.py`.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (torch's functions are typed in part)

from collections.abc import Iterable
from typing import Any

import torch
from torch.optim import Optimizer, lr_scheduler

from chimera.schemas import training_config
from chimera.schemas.errors import TrainingRefused
from chimera.workers.training.names import UNFIT


def optimizer(wanted: training_config.Optimizer, parameters: Iterable[Any]) -> Optimizer:
    """Raises TrainingRefused: torch has none of that name, it cannot step, or takes no such argument."""
    _require_fit("optimizer.name", wanted.name)
    kind = getattr(torch.optim, wanted.name, None)
    if not (isinstance(kind, type) and issubclass(kind, Optimizer)) or kind is Optimizer:
        raise TrainingRefused(f"optimizer.name {wanted.name!r}: torch.optim has none")
    try:
        return kind(parameters, **wanted.arguments)
    except (TypeError, ValueError) as error:
        raise TrainingRefused(f"optimizer.arguments of {wanted.name}: {error}") from None


def schedule(
    wanted: training_config.Scheduler, optimizer: Optimizer
) -> lr_scheduler.LRScheduler | None:
    """`step` after each update: warm-up first, then what was asked for, from its beginning.

    None: neither was, and the rate stays.

    Raises:
        TrainingRefused: torch has no such schedule, it cannot step, or it takes no such argument.
    """
    if wanted.name is None and not wanted.warmup_steps:
        return None
    if not wanted.warmup_steps:
        return _schedule(wanted, optimizer)
    warmup = lr_scheduler.LinearLR(
        optimizer, 1 / (wanted.warmup_steps + 1), total_iters=wanted.warmup_steps
    )
    after = _schedule(wanted, optimizer)
    return lr_scheduler.SequentialLR(optimizer, [warmup, after], [wanted.warmup_steps])


def require_long(wanted: training_config.Scheduler, updates: int) -> None:
    """Raises TrainingRefused: the schedule is of fewer updates than the run's, and would end it."""
    if wanted.name != "OneCycleLR":
        return
    told = wanted.arguments
    total = told.get("total_steps") or told["epochs"] * told["steps_per_epoch"]
    if wanted.warmup_steps + total < updates:
        raise TrainingRefused(
            f"scheduler.arguments of {wanted.name}: {total} steps after {wanted.warmup_steps} of the"
            f" warm-up are fewer than the run's {updates} updates"
        )


def _schedule(wanted: training_config.Scheduler, optimizer: Optimizer) -> lr_scheduler.LRScheduler:
    if wanted.name is None:
        return lr_scheduler.ConstantLR(optimizer, factor=1.0)
    _require_fit("scheduler.name", wanted.name)
    kind = getattr(lr_scheduler, wanted.name, None)
    if not (isinstance(kind, type) and issubclass(kind, lr_scheduler.LRScheduler)):
        raise TrainingRefused(f"scheduler.name {wanted.name!r}: torch.optim.lr_scheduler has none")
    try:
        return kind(optimizer, **wanted.arguments)
    except (TypeError, ValueError) as error:
        raise TrainingRefused(f"scheduler.arguments of {wanted.name}: {error}") from None


def _require_fit(field: str, name: str) -> None:
    """Raises TrainingRefused: the loop cannot step it."""
    if name in UNFIT:
        raise TrainingRefused(f"{field} {name!r}: {UNFIT[name]}")
