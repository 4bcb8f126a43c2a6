"""How good a model is on the rows that were held out: metrics, how sure they are, and by slice.

Intervals are percentile bootstraps (Efron 1979) at 95 %, over rows. A slice is told with its number
of rows. `tests/workers/training/test_run.py`.
"""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from chimera.schemas.training_config import Evaluation, Task
from chimera.schemas.training_manifest import Interval, SliceMetrics
from chimera.workers.training.loaders import Loader
from chimera.workers.training.metrics import Floats, Metric, metrics
from chimera.workers.training.objectives import Objective
from chimera.workers.training.preparation import Rows

TAIL = 0.025
MAX_RESAMPLED = 20_000  # rows of one resample: enough for three digits


class Evaluated(NamedTuple):
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    slices: dict[str, SliceMetrics]


class Outputs(NamedTuple):
    outputs: Floats
    targets: NDArray[Any]
    loss: float


def outputs_of(module: nn.Module, loader: Loader, objective: Objective) -> Outputs:
    """All rows of a side through a module; it is put back into the mode that it was in."""
    was_training = module.training
    module.eval()
    outputs: list[NDArray[Any]] = []
    targets: list[NDArray[Any]] = []
    total = 0.0
    with torch.no_grad():
        for batch in loader.batches():
            found = module(batch.features)
            total += float(objective(found, batch.targets)) * len(batch.targets)
            outputs.append(found.float().cpu().numpy())
            targets.append(batch.targets.cpu().numpy())
    module.train(was_training)
    joined = np.concatenate(targets)
    return Outputs(np.concatenate(outputs).astype(np.float64), joined, total / len(joined))


def evaluate_model(
    module: nn.Module, rows: Rows, task: Task, wanted: Evaluation, objective: Objective
) -> Evaluated:
    """Everything that is told of a finished model."""
    found = outputs_of(module, Loader(rows, wanted.batch_size, None), objective)
    chosen = metrics(task, wanted.metrics)
    values = {name: one(found.outputs, found.targets) for name, one in chosen.items()}
    return Evaluated(
        metrics=_finite({**values, "val_loss": found.loss}),
        intervals=_intervals(chosen, found, wanted.bootstrap),
        slices=_slices(chosen, found, rows.slices),
    )


def _intervals(chosen: dict[str, Metric], found: Outputs, resamples: int) -> dict[str, Interval]:
    if not resamples:
        return {}
    count = len(found.targets)
    drawn = np.random.default_rng(0)
    values: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(resamples):
        rows = drawn.integers(0, count, min(count, MAX_RESAMPLED))
        for name, metric in chosen.items():
            values[name].append(metric(found.outputs[rows], found.targets[rows]))
    bounds = {name: np.nanquantile(one, (TAIL, 1 - TAIL)) for name, one in values.items()}
    return {
        name: Interval(float(low), float(high))
        for name, (low, high) in bounds.items()
        if math.isfinite(low) and math.isfinite(high)
    }


def _slices(
    chosen: dict[str, Metric], found: Outputs, names: tuple[str, ...]
) -> dict[str, SliceMetrics]:
    labels = np.array(names)
    told: dict[str, SliceMetrics] = {}
    for name in sorted(set(names)):
        rows = labels == name
        values = {
            metric: one(found.outputs[rows], found.targets[rows]) for metric, one in chosen.items()
        }
        told[name] = SliceMetrics(int(rows.sum()), _finite(values))
    return told


def _finite(values: dict[str, float]) -> dict[str, float]:
    """Without those that are not defined there: JSON has no NaN."""
    return {name: value for name, value in values.items() if math.isfinite(value)}
