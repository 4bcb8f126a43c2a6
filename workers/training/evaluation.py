"""How good a model is on the rows that were held out: metrics, how sure they are, and by slice.

Intervals are percentile bootstraps (Efron 1979) at 95 %, over rows. Of many rows only some are drawn,
and the interval is drawn in by the square root of their share (Bickel, Goetze and van Zwet 1997, m out
of n). The loss, and a metric that looks at neighbours, are computed once for each row, and their means
resampled. A slice is told with its number of rows, its loss and intervals; of many slices those that have
fewest rows are one. `tests/workers/training/test_evaluation.py`.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# (torch's functions are typed in part)

import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from chimera.schemas.training_config import TrainingConfig
from chimera.schemas.training_manifest import Interval, SliceMetrics
from chimera.workers.training.loaders import Loader
from chimera.workers.training.metrics import EACH_ROW, Floats, Metric, metrics
from chimera.workers.training.objectives import Objective, objective, row_losses
from chimera.workers.training.preparation import Rows

TAIL = 0.025
MAX_RESAMPLED = 20_000  # rows of one resample: a million take no longer
MAX_SLICES = 32  # a column of ids would have one for each row
OTHERS = "others"  # the last slice, of all further values

OfRows = Callable[[NDArray[np.int64]], float]  # a metric, of the rows that are drawn


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
    module: nn.Module, rows: Rows, config: TrainingConfig, *, device: torch.device | None = None
) -> Evaluated:
    """Everything that is told of a finished model."""
    wanted = config.evaluation
    loader = Loader(rows, wanted.batch_size, None, device=device)
    found = outputs_of(module, loader, objective(config.task, config.loss))
    chosen, losses = metrics(config.task, wanted.metrics), _row_losses(found, config)
    values, sure = _judged(chosen, found, losses, wanted.bootstrap)
    return Evaluated(
        values, sure, _slices(chosen, found, losses, rows.slices, resamples=wanted.bootstrap)
    )


def intervals(
    values: dict[str, float],
    of_rows: dict[str, OfRows],
    count: int,
    resamples: int,
    *,
    most: int | None = None,
) -> dict[str, Interval]:
    """Of metrics of `count` rows, which came out as `values`; `most` rows are drawn at once."""
    if not resamples or count == 1:  # one row says nothing of others
        return {}
    drawn, size = np.random.default_rng(0), min(count, most or MAX_RESAMPLED)
    found: dict[str, list[float]] = {name: [] for name in of_rows}
    for _ in range(resamples):
        rows = drawn.integers(0, count, size)
        for name, metric in of_rows.items():
            found[name].append(metric(rows))
    told: dict[str, Interval] = {}
    for name, one in found.items():
        defined = [value for value in one if math.isfinite(value)]
        if not math.isfinite(values[name]) or not defined:
            continue
        apart = np.quantile(defined, (TAIL, 1 - TAIL)) - values[name]
        low, high = (values[name] + apart * math.sqrt(size / count)).tolist()
        told[name] = Interval(low, high)
    return told


def _judged(
    chosen: dict[str, Metric],
    found: Outputs,
    losses: NDArray[Any],
    resamples: int,
    *,
    most: int | None = None,
) -> tuple[dict[str, float], dict[str, Interval]]:
    """Metrics and the loss of some rows, and how sure they are."""
    values = {name: one(found.outputs, found.targets) for name, one in chosen.items()}
    values["val_loss"] = found.loss
    of_rows = {name: _of_rows(name, one, found) for name, one in chosen.items()}
    of_rows["val_loss"] = partial(_mean, losses)
    sure = intervals(values, of_rows, len(losses), resamples, most=most)
    return _finite(values), sure


def _of_rows(name: str, metric: Metric, found: Outputs) -> OfRows:
    each = EACH_ROW.get(name)
    if each is not None:
        return partial(_mean, each(found.outputs, found.targets))
    return lambda rows: metric(found.outputs[rows], found.targets[rows])


def _mean(each: NDArray[Any], rows: NDArray[np.int64]) -> float:
    return float(each[rows].mean())


def _row_losses(found: Outputs, config: TrainingConfig) -> NDArray[Any]:
    """Each row's, in the batches that the loss was computed in."""
    each, size = row_losses(config.task, config.loss), config.evaluation.batch_size
    outputs = torch.from_numpy(found.outputs.astype(np.float32))
    targets = torch.from_numpy(found.targets)
    batches = [slice(start, start + size) for start in range(0, len(targets), size)]
    return torch.cat([each(outputs[batch], targets[batch]) for batch in batches]).numpy()


def _slices(
    chosen: dict[str, Metric],
    found: Outputs,
    losses: NDArray[Any],
    names: tuple[str, ...],
    *,
    resamples: int,
) -> dict[str, SliceMetrics]:
    """In the order of their names. All of them together draw as many rows as the whole."""
    told: dict[str, SliceMetrics] = {}
    labels, which = np.unique(_labels(names), return_inverse=True)
    most = max(MAX_RESAMPLED // max(len(labels), 1), 1)
    for at, name in enumerate(labels.tolist()):
        rows = which == at
        part = Outputs(found.outputs[rows], found.targets[rows], float(losses[rows].mean()))
        values, sure = _judged(chosen, part, losses[rows], resamples, most=most)
        told[name] = SliceMetrics(int(rows.sum()), values, sure)
    return told


def _labels(names: tuple[str, ...]) -> list[str]:
    """Of each row; the values that fewest rows have are one, where there are too many."""
    count = Counter(names)
    if len(count) <= MAX_SLICES:
        return list(names)
    largest = sorted(count.keys() - {OTHERS}, key=lambda one: (-count[one], one))
    kept = set(largest[: MAX_SLICES - 1])
    return [name if name in kept else OTHERS for name in names]


def _finite(values: dict[str, float]) -> dict[str, float]:
    """Without those that are not defined there: JSON has no NaN."""
    return {name: value for name, value in values.items() if math.isfinite(value)}
