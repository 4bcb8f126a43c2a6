"""What a step tells of its speed has the batch's way from the disk in it."""

import time
from collections.abc import Iterator
from pathlib import Path

import torch

from chimera.workers.training import modules
from chimera.workers.training.loaders import Batch, Loader
from chimera.workers.training.loop import Epoch, Step, Training
from chimera.workers.training.objectives import objective
from chimera.workers.training.preparation import prepare
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
