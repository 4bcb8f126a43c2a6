"""Metrics by name, over all rows of a side: outputs and targets in, one number out.

    regression   eval_mse  mae  r2
    binary       accuracy  f1  roc_auc  calibration_error
    multiclass   accuracy  f1 (macro)  calibration_error
    embedding    recall_at_1

ROC-AUC is the Mann-Whitney statistic, ties by half; the calibration error is the expected one over
15 bins of equal width (Guo et al. 2017), which is above the true one where rows are few. What is not
defined (one class alone, no spread) is NaN. `tests/workers/training/test_metrics.py` compares with
scikit-learn.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chimera.schemas.errors import TrainingRefused
from chimera.schemas.training_config import Task, TrainingConfig

BINS = 15

Floats = NDArray[np.float64]
Metric = Callable[[Floats, NDArray[Any]], float]


def metrics(task: Task, names: tuple[str, ...] = ()) -> dict[str, Metric]:
    """Those of the task, or of them the ones that are named. Raises TrainingRefused: no such one."""
    known = METRICS[task]
    for name in names:
        if name not in known:
            raise TrainingRefused(f"evaluation.metrics {name!r}: {task} has {', '.join(known)}")
    return {name: known[name] for name in names or known}


def require_told(config: TrainingConfig) -> None:
    """Raises TrainingRefused: the best epoch, or the end, is to be known by what no epoch tells."""
    told = (*metrics(config.task, config.evaluation.metrics), "val_loss", "train_loss")
    wanted = {"evaluation.best": config.evaluation.best}
    if config.loop.early_stopping is not None:
        wanted["loop.early_stopping.metric"] = config.loop.early_stopping.metric
    for field, name in wanted.items():
        if name not in told:
            raise TrainingRefused(f"{field} {name!r}: an epoch tells {', '.join(told)}")


def eval_mse(outputs: Floats, targets: NDArray[Any]) -> float:
    return float(np.mean((_flat(outputs, targets) - targets) ** 2))


def mae(outputs: Floats, targets: NDArray[Any]) -> float:
    return float(np.mean(np.abs(_flat(outputs, targets) - targets)))


def r2(outputs: Floats, targets: NDArray[Any]) -> float:
    spread = float(np.sum((targets - targets.mean(axis=0)) ** 2))
    left = float(np.sum((_flat(outputs, targets) - targets) ** 2))
    return 1 - left / spread if spread else np.nan


def binary_accuracy(outputs: Floats, targets: NDArray[Any]) -> float:
    is_right: NDArray[np.bool_] = (_flat(outputs, targets) > 0) == (targets > 0.5)
    return float(is_right.mean())


def binary_f1(outputs: Floats, targets: NDArray[Any]) -> float:
    return _f1(_flat(outputs, targets) > 0, targets > 0.5)


def roc_auc(outputs: Floats, targets: NDArray[Any]) -> float:
    scores, is_one = _flat(outputs, targets).ravel(), targets.ravel() > 0.5
    ones, zeros = int(is_one.sum()), int((~is_one).sum())
    if not ones or not zeros:
        return np.nan
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[is_one].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def binary_calibration(outputs: Floats, targets: NDArray[Any]) -> float:
    share = 1 / (1 + np.exp(-np.clip(_flat(outputs, targets).ravel(), -500, 500)))
    is_sure = np.maximum(share, 1 - share)
    return _calibration(is_sure, (share > 0.5) == (targets.ravel() > 0.5))


def accuracy(outputs: Floats, targets: NDArray[Any]) -> float:
    is_right: NDArray[np.bool_] = outputs.argmax(axis=1) == targets
    return float(is_right.mean())


def macro_f1(outputs: Floats, targets: NDArray[Any]) -> float:
    found = outputs.argmax(axis=1)
    classes = np.union1d(np.unique(found), np.unique(targets))
    return float(np.mean([_f1(found == one, targets == one) for one in classes]))


def calibration(outputs: Floats, targets: NDArray[Any]) -> float:
    shares = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return _calibration(shares.max(axis=1), outputs.argmax(axis=1) == targets)


def recall_at_1(outputs: Floats, targets: NDArray[Any]) -> float:
    """How often the nearest other row, by cosine, is of the same class."""
    return float(nearest_hits(outputs, targets).mean())


def nearest_hits(outputs: Floats, targets: NDArray[Any]) -> NDArray[np.bool_]:
    """Of each row, whether the nearest other one is of its class."""
    lengths = np.linalg.norm(outputs, axis=1, keepdims=True)
    directions = outputs / np.where(lengths == 0, 1, lengths)
    hits = np.zeros(len(targets), np.bool_)
    for start in range(0, len(directions), 1_024):
        likeness = directions[start : start + 1_024] @ directions.T
        rows = np.arange(len(likeness))
        likeness[rows, start + rows] = -np.inf
        hits[start + rows] = targets[likeness.argmax(axis=1)] == targets[start + rows]
    return hits


def _flat(outputs: Floats, targets: NDArray[Any]) -> Floats:
    return outputs.reshape(targets.shape)


def _f1(found: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    both = int((found & wanted).sum())
    total = int(found.sum()) + int(wanted.sum())
    return 2 * both / total if total else 0.0


def _calibration(is_sure: Floats, is_right: NDArray[np.bool_]) -> float:
    bins = np.minimum((is_sure * BINS).astype(int), BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    sure = np.bincount(bins, is_sure, BINS)
    right = np.bincount(bins, is_right, BINS)
    return float(np.abs(sure - right).sum() / count.sum())


METRICS: dict[Task, dict[str, Metric]] = {
    "regression": {"eval_mse": eval_mse, "mae": mae, "r2": r2},
    "binary": {
        "accuracy": binary_accuracy,
        "f1": binary_f1,
        "roc_auc": roc_auc,
        "calibration_error": binary_calibration,
    },
    "multiclass": {"accuracy": accuracy, "f1": macro_f1, "calibration_error": calibration},
    "embedding": {"recall_at_1": recall_at_1},
}
EACH_ROW: dict[str, Callable[[Floats, NDArray[Any]], NDArray[Any]]] = {"recall_at_1": nearest_hits}
"""Those that look at rows beside a row, as a mean over rows: a row drawn twice would meet itself."""
