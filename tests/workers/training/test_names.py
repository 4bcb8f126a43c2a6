"""Names that are known without torch are those that torch and the registries have."""

import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from chimera.workers.training import names
from chimera.workers.training.names import (
    OPTIMIZERS,
    SCHEDULERS,
    UNFIT,
    against,
    exported,
    undivided,
)
from chimera.workers.training.objectives import LOSSES
from tests.workers.training.places import config


def classes(module: ModuleType, base: type) -> set[str]:
    found: dict[str, object] = dict(vars(module))
    return {
        name
        for name, one in found.items()
        if isinstance(one, type) and issubclass(one, base) and one is not base
        if not name.startswith("_")
    }


def test_names_are_those_that_torch_has() -> None:
    assert set(exported(OPTIMIZERS)) == classes(torch.optim, torch.optim.Optimizer)
    assert set(exported(SCHEDULERS)) == classes(lr_scheduler, lr_scheduler.LRScheduler)
    assert {task: tuple(losses) for task, losses in LOSSES.items()} == names.LOSSES


def test_names_that_are_unfit_are_names() -> None:
    assert set(UNFIT) <= {*exported(OPTIMIZERS), *exported(SCHEDULERS)}


def test_names_need_no_torch() -> None:
    code = (
        "import sys; from chimera.workers.training.names import *; "
        "exported(OPTIMIZERS); assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"loss": {"name": "msee"}}, "loss.name 'msee': regression has mse, mae, huber"),
        ({"evaluation": {"metrics": ["r2", "f1"]}}, "evaluation.metrics 'f1'"),
        ({"evaluation": {"best": "acuracy"}}, "evaluation.best 'acuracy'"),
        ({"evaluation": {"best": "r2", "metrics": ["mae"]}}, "evaluation.best 'r2'"),
        ({"loop": {"early_stopping": {"metric": "loss"}}}, "loop.early_stopping.metric 'loss'"),
        ({"optimizer": {"name": "Adamw"}}, "optimizer.name 'Adamw'"),
        ({"optimizer": {"name": "Optimizer"}}, "optimizer.name 'Optimizer'"),
        ({"scheduler": {"name": "Cosine"}}, "scheduler.name 'Cosine'"),
        ({"optimizer": {"name": "LBFGS"}}, "optimizer.name 'LBFGS': it computes the loss several"),
        ({"scheduler": {"name": "ReduceLROnPlateau"}}, "scheduler.name 'ReduceLROnPlateau': it f"),
    ],
)
def test_name_that_is_none_is_told_with_those_that_are(changes: Any, told: str) -> None:
    (reason,) = against(config(**changes))
    assert reason.startswith(told)


def test_loss_of_whole_batches_is_refused_in_parts() -> None:
    embedding = {"task": "embedding", "loss": {"name": "supervised_contrastive"}}
    pieces, whole = config(**embedding, loop={"grad_accum_steps": 2}), config(**embedding)
    (reason,) = against(pieces)
    assert reason.startswith("loop.grad_accum_steps 2: supervised_contrastive is of a whole")
    assert (list(against(whole)), list(undivided(config(), 2))) == ([], [])
    assert [one.split(":")[0] for one in undivided(whole, 2)] == ["processes 2"]
    some = {"name": "cross_entropy", "arguments": {"ignore_index": 0}}
    assert len(list(undivided(config(task="multiclass", loss=some), 2))) == 1


def test_order_with_names_that_are_is_not_held_up() -> None:
    early = {"early_stopping": {"metric": "train_loss"}}
    wanted = config(loop=early, scheduler={"name": "StepLR"}, optimizer={"name": "AdamW"})
    assert list(against(wanted)) == []
