"""Names in a configuration that mean something here, told without torch: what there is none of.

    loss, metrics            by task, as `objectives.py` and `metrics.py` have them
    optimizer, scheduler     what the torch that is installed exports, read from its source, without
                             those that need what no file or no loop here gives: `UNFIT`

So an order is refused when it comes, not when a trainer has read its data; one whose loss is no mean over
rows is refused in several parts as well (`undivided`). `tests/workers/training/test_names.py` compares with
torch itself; `test_optimization.py` has each of them take its steps.
"""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from chimera.schemas.training_config import Task, TrainingConfig
from chimera.workers.training.metrics import METRICS

LOSSES: dict[Task, tuple[str, ...]] = {
    "regression": ("mse", "mae", "huber"),
    "binary": ("bce",),
    "multiclass": ("cross_entropy",),
    "embedding": ("supervised_contrastive",),
}
OF_PAIRS = ("supervised_contrastive",)  # losses of rows beside all others of their batch
NO_MEAN = "ignore_index"  # an argument that leaves rows out: how many may differ from part to part
OF_ANY_TASK = ("val_loss", "train_loss")
OPTIMIZERS, SCHEDULERS = "optim/__init__.py", "optim/lr_scheduler.py"
BASES = ("Optimizer", "LRScheduler")  # of which every one is
_FUNCTION, _SCHEDULES = "it takes a function, not numbers", "it takes schedules, not numbers"
UNFIT = {
    "LBFGS": "it computes the loss several times a step",
    "SparseAdam": "it is for sparse gradients alone",
    "ReduceLROnPlateau": "it follows a metric, and schedules go by updates",
    "LambdaLR": _FUNCTION,
    "MultiplicativeLR": _FUNCTION,
    "SequentialLR": _SCHEDULES,
    "ChainedScheduler": _SCHEDULES,
}


def against(config: TrainingConfig) -> Iterator[str]:
    """Every name that is none, or none that can be used here, with those that are; and `undivided`."""
    metrics = tuple(METRICS[config.task])
    judged = (*(config.evaluation.metrics or metrics), *OF_ANY_TASK)  # what an epoch tells
    stopping, schedule = config.loop.early_stopping, config.scheduler.name
    asked = [
        ("loss.name", config.loss.name, LOSSES[config.task]),
        *(("evaluation.metrics", one, metrics) for one in config.evaluation.metrics),
        ("evaluation.best", config.evaluation.best, judged),
        *([("loop.early_stopping.metric", stopping.metric, judged)] if stopping else []),
        ("optimizer.name", config.optimizer.name, usable(OPTIMIZERS)),
        *([("scheduler.name", schedule, usable(SCHEDULERS))] if schedule else []),
    ]
    for field, name, known in asked:
        if name not in known:
            why = f"{UNFIT[name]}; " if name in UNFIT else ""
            yield f"{field} {name[:200]!r}: {why}{config.task} has {', '.join(known)}"
    yield from undivided(config)


def undivided(config: TrainingConfig, processes: int = 1) -> Iterator[str]:
    """Why its batches may not be computed in so many parts; nothing: they may."""
    loss, pieces = config.loss, config.loop.grad_accum_steps
    if loss.name not in OF_PAIRS and NO_MEAN not in loss.arguments:
        return
    left_out = f" with {NO_MEAN}" if NO_MEAN in loss.arguments else ""
    for field, count in (("loop.grad_accum_steps", pieces), ("processes", processes)):
        if count > 1:
            yield f"{field} {count}: {loss.name}{left_out} is of a whole batch: parts do not add up to it"


def usable(file: str) -> tuple[str, ...]:
    """Those of `exported` that the loop can step."""
    return tuple(one for one in exported(file) if one not in UNFIT)


@cache
def exported(file: str) -> tuple[str, ...]:
    """Classes that a file of the installed torch exports; importing torch would take seconds."""
    torch = find_spec("torch")
    assert torch is not None and torch.origin is not None  # it is required
    tree = ast.parse((Path(torch.origin).parent / file).read_text("utf-8"))
    (names,) = (
        ast.literal_eval(one.value)
        for one in tree.body
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "__all__"
    )
    return tuple(one for one in names if one[0].isupper() and one not in BASES)
