"""What a step tells of its speed, and that pieces of a batch, or its smaller rest, change no mathematics."""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chimera.schemas.errors import TrainingRefused
from chimera.schemas.training_config import Task, TrainingConfig
from chimera.workers.training import modules
from chimera.workers.training.loaders import Batch, Loader, Place
from chimera.workers.training.loop import Epoch, Step, Training
from chimera.workers.training.names import LOSSES, OF_PAIRS
from chimera.workers.training.objectives import objective
from chimera.workers.training.preparation import Rows, prepare
from tests.workers.training.places import ALLOWED, config

PAUSE_S = 0.02


class Slow(Loader):
    """A disk that takes its time."""

    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        for batch in super().batches(epoch, start):
            time.sleep(PAUSE_S)
            yield batch


def test_rows_per_second_are_from_step_to_step(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    order = config(loop={"epochs": 2})
    data = prepare(order, tmp_path / "data")
    module = modules.make(order.model, ALLOWED)
    training = Training(order, module, objective(order.task, order.loss))
    told: list[Step | Epoch] = []
    size = order.loop.batch_size
    training.run(
        Slow(data.train, size, 0),
        Loader(data.validation, size, None),
        told.append,
        lambda update, state, is_best: None,
        lambda: False,
    )
    rates = [one.rows_s for one in told if isinstance(one, Step)]
    assert len(rates) == 2 * len(Slow(data.train, size, 0))
    assert max(rates) <= size / PAUSE_S


def rows_of(task: Task, count: int) -> Rows:
    drawn = np.random.default_rng(0)
    features = drawn.standard_normal((count, 4)).astype(np.float32)
    classes = drawn.integers(0, 2, count)
    target = classes if task in ("multiclass", "embedding") else classes.astype(np.float32)
    return Rows(features, target, np.zeros((count, 2), np.int64))


def learnt(order: TrainingConfig, rows: Rows, place: Place = Place()) -> dict[str, Any]:  # noqa: B008  # frozen
    torch.manual_seed(0)
    module = modules.make(order.model, ALLOWED)
    training = Training(order, module, objective(order.task, order.loss), place=place)
    loop = order.loop
    training.run(
        Loader(rows, loop.batch_size, 0, drop_last=bool(loop.drop_last)),
        Loader(rows, 64, None),
        lambda told: None,
        lambda update, state, is_best: None,
        lambda: False,
    )
    return {name: one.tolist() for name, one in module.state_dict().items()}


def ordered(task: Task, loss: str, **loop: Any) -> TrainingConfig:
    width = 1 if task in ("regression", "binary") else 3
    model = {"arguments": {"in_features": 4, "out_features": width}}
    return config(task=task, loss={"name": loss}, model=model, loop={"batch_size": 10, **loop})


@pytest.mark.parametrize(("task", "loss"), [(task, one) for task in LOSSES for one in LOSSES[task]])
def test_two_pieces_of_a_batch_give_the_update_of_one_or_are_refused(task: Task, loss: str) -> None:
    rows = rows_of(task, 35)
    whole = learnt(ordered(task, loss), rows)
    pieces = ordered(task, loss, grad_accum_steps=2)
    if loss in OF_PAIRS:
        with pytest.raises(TrainingRefused, match=r"loop\.grad_accum_steps 2: supervised_con"):
            learnt(pieces, rows)
        return
    for name, one in learnt(pieces, rows).items():
        assert np.array(one) == pytest.approx(np.array(whole[name]), abs=1e-6)


def test_loss_of_whole_batches_is_refused_in_several_processes() -> None:
    order = ordered("embedding", "supervised_contrastive")
    with pytest.raises(TrainingRefused, match="processes 2: supervised_contrastive"):
        learnt(order, rows_of("embedding", 35), Place(0, 2))


def test_module_that_cannot_learn_from_one_row_learns_without_the_rest() -> None:
    model: dict[str, Any] = {
        "definition": "tests.workers.training.hooks:Normed",
        "arguments": {},
    }
    rows = rows_of("regression", 11)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        learnt(config(model=model, loop={"batch_size": 5}), rows)
    learnt(config(model=model, loop={"batch_size": 5, "drop_last": True}), rows)
