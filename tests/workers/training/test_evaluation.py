"""Intervals are as wide as the metric is unsure, for few rows and many, and hold the truth as often as they say."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from chimera.schemas.training_config import TrainingConfig
from chimera.schemas.training_manifest import Interval, SliceMetrics
from chimera.workers.training import evaluation, metrics
from chimera.workers.training.evaluation import (
    MAX_RESAMPLED,
    MAX_SLICES,
    OTHERS,
    Evaluated,
    evaluate_model,
    intervals,
)
from chimera.workers.training.preparation import Rows
from tests.workers.training.places import config

Z = 1.96
SAMPLES, ROWS = 100, 400


def told(outputs: NDArray[Any], targets: NDArray[Any], order: TrainingConfig) -> Interval:
    """The interval of the order's only metric, of a module that gives its input."""
    rows = Rows(outputs.astype(np.float32), targets, np.zeros((len(targets), 2), np.int64))
    found = evaluate_model(nn.Identity(), rows, order)
    (name,) = order.evaluation.metrics
    assert found.intervals[name].low <= found.metrics[name] <= found.intervals[name].high
    low, high = found.intervals["val_loss"].low, found.intervals["val_loss"].high
    assert low <= found.metrics["val_loss"] <= high
    return found.intervals[name]


def order(task: str, loss: str, metric: str, bootstrap: int = 200) -> TrainingConfig:
    return config(
        task=task, loss={"name": loss}, evaluation={"metrics": [metric], "bootstrap": bootstrap}
    )


@pytest.mark.parametrize("rows", [2_000, 10 * MAX_RESAMPLED], ids=["all", "some"])
def test_interval_is_as_wide_as_the_standard_error_says(rows: int) -> None:
    drawn = np.random.default_rng(rows)
    targets = drawn.standard_normal(rows).astype(np.float32)
    outputs = targets + drawn.standard_normal(rows)
    found = told(outputs, targets, order("regression", "mse", "eval_mse"))
    wanted = 2 * Z * float(np.std((outputs - targets) ** 2)) / math.sqrt(rows)
    assert found.high - found.low == pytest.approx(wanted, rel=0.25)


def test_interval_of_the_loss_is_that_of_the_metric_that_is_the_same() -> None:
    drawn = np.random.default_rng(0)
    targets = drawn.standard_normal(500).astype(np.float32)
    outputs = targets + drawn.standard_normal(500).astype(np.float32)
    rows = Rows(outputs, targets, np.zeros((500, 2), np.int64))
    found = evaluate_model(nn.Identity(), rows, order("regression", "mse", "eval_mse"))
    loss, metric = found.intervals["val_loss"], found.intervals["eval_mse"]
    assert (loss.low, loss.high) == pytest.approx((metric.low, metric.high), rel=1e-4)


def test_recall_of_outputs_without_meaning_is_not_better_for_being_drawn_twice() -> None:
    drawn = np.random.default_rng(0)
    outputs, targets = drawn.standard_normal((500, 8)), drawn.integers(0, 10, 500)
    found = told(outputs, targets, order("embedding", "supervised_contrastive", "recall_at_1"))
    assert found.low < 0.1 < found.high
    share = metrics.recall_at_1(outputs, targets)
    wanted = 2 * Z * math.sqrt(share * (1 - share) / 500)
    assert found.high - found.low == pytest.approx(wanted, rel=0.25)


def test_recall_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(outputs: metrics.Floats, targets: NDArray[Any]) -> NDArray[Any]:
        calls.append(len(targets))
        return metrics.nearest_hits(outputs, targets)

    monkeypatch.setitem(metrics.EACH_ROW, "recall_at_1", counted)
    drawn = np.random.default_rng(0)
    outputs, targets = drawn.standard_normal((60, 4)), drawn.integers(0, 3, 60)
    told(outputs, targets, order("embedding", "supervised_contrastive", "recall_at_1"))
    assert calls == [60]


def regression(drawn: np.random.Generator, rows: int) -> tuple[NDArray[Any], NDArray[Any]]:
    targets = drawn.standard_normal(rows)
    return targets + drawn.standard_normal(rows) / 2, targets


def binary(drawn: np.random.Generator, rows: int) -> tuple[NDArray[Any], NDArray[Any]]:
    targets = drawn.integers(0, 2, rows).astype(np.float64)
    return targets - 0.5 + drawn.standard_normal(rows), targets


def classes(drawn: np.random.Generator, rows: int) -> tuple[NDArray[Any], NDArray[Any]]:
    targets = drawn.integers(0, 3, rows)
    return np.eye(3)[targets] + drawn.standard_normal((rows, 3)), targets


@pytest.mark.parametrize(
    ("metric", "drawn_by", "most"),
    [
        (metrics.eval_mse, regression, ROWS),
        (metrics.mae, regression, ROWS),
        (metrics.r2, regression, ROWS // 4),
        (metrics.binary_accuracy, binary, ROWS),
        (metrics.binary_f1, binary, ROWS // 4),
        (metrics.roc_auc, binary, ROWS),
        (metrics.roc_auc, binary, ROWS // 4),
        (metrics.macro_f1, classes, ROWS // 4),
    ],
)
def test_truth_lies_in_the_interval_as_often_as_it_says(
    monkeypatch: pytest.MonkeyPatch,
    metric: metrics.Metric,
    drawn_by: Callable[[np.random.Generator, int], tuple[NDArray[Any], NDArray[Any]]],
    most: int,
) -> None:
    """Of 100 samples it misses 5; 15 and more come once in ten thousand times."""
    monkeypatch.setattr(evaluation, "MAX_RESAMPLED", most)
    truth = metric(*drawn_by(np.random.default_rng(10**6), 200_000))
    missed = 0
    for seed in range(SAMPLES):
        outputs, targets = drawn_by(np.random.default_rng(seed), ROWS)
        of_rows = partial(_on, metric, outputs, targets)
        values = {"it": metric(outputs, targets)}
        found = intervals(values, {"it": of_rows}, ROWS, 100)["it"]
        missed += not found.low <= truth <= found.high
    assert 0 < missed < 15


def _on(
    metric: metrics.Metric, outputs: NDArray[Any], targets: NDArray[Any], rows: NDArray[np.int64]
) -> float:
    return metric(outputs[rows], targets[rows])


@pytest.mark.parametrize(
    ("task", "loss"),
    [
        ("regression", "huber"),
        ("binary", "bce"),
        ("multiclass", "cross_entropy"),
        ("embedding", "supervised_contrastive"),
    ],
)
def test_losses_of_rows_have_the_mean_of_their_batches(task: Any, loss: str) -> None:
    drawn = torch.Generator().manual_seed(0)
    outputs = torch.randn(40, 6, generator=drawn)
    targets = torch.randint(0, 6, (40,), generator=drawn)
    targets[7] = 9 if task == "embedding" else targets[7]  # alone in its class
    if task in ("regression", "binary"):
        outputs, targets = outputs[:, :1], (targets > 2).float()
    rows = Rows(outputs.numpy(), targets.numpy(), np.zeros((40, 2), np.int64))
    changes: dict[str, Any] = {"batch_size": 16, "bootstrap": 50}
    found = evaluate_model(
        nn.Identity(), rows, config(task=task, loss={"name": loss}, evaluation=changes)
    )
    interval = found.intervals["val_loss"]
    assert interval.low < found.metrics["val_loss"] < interval.high


def sliced(rows: int, names: tuple[str, ...], order: TrainingConfig) -> Evaluated:
    """Of a module that gives its input, which is the target and some noise."""
    drawn = np.random.default_rng(0)
    targets = drawn.standard_normal(rows).astype(np.float32)
    outputs = targets + drawn.standard_normal(rows).astype(np.float32)
    ids = np.zeros((rows, 2), np.int64)
    return evaluate_model(nn.Identity(), Rows(outputs, targets, ids, names), order)


def test_slice_has_the_loss_and_the_intervals_of_its_rows() -> None:
    wanted = order("regression", "mse", "eval_mse")
    whole = sliced(400, ("all",) * 400, wanted)
    (one,) = whole.slices.values()
    assert one.rows == 400
    assert one.metrics == pytest.approx(whole.metrics, rel=1e-5)
    assert one.intervals == whole.intervals
    halves = sliced(400, ("high",) * 100 + ("low",) * 300, wanted).slices
    for half in halves.values():
        for name in ("eval_mse", "val_loss"):
            found = half.intervals[name]
            assert found.low < half.metrics[name] < found.high
    widths = [found.intervals["eval_mse"] for found in (halves["high"], halves["low"])]
    assert widths[0].high - widths[0].low > widths[1].high - widths[1].low


@pytest.mark.parametrize("rows", [400, 4 * MAX_RESAMPLED], ids=["all", "some"])
def test_interval_of_a_slice_is_as_wide_as_the_standard_error_says(rows: int) -> None:
    names = ("high",) * (rows // 2) + ("low",) * (rows // 2)
    for one in sliced(rows, names, order("regression", "mse", "eval_mse")).slices.values():
        found = one.intervals["eval_mse"]
        spread = math.sqrt(2) * one.metrics["eval_mse"]  # of a square of normal noise
        wanted = 2 * Z * spread / math.sqrt(rows / 2)
        assert found.high - found.low == pytest.approx(wanted, rel=0.3)


def test_slices_with_fewest_rows_are_one_where_there_are_too_many() -> None:
    names = tuple(f"{number % 100:03}" for number in range(150)) + (OTHERS,) * 3
    found = sliced(153, names, order("regression", "mse", "mae", bootstrap=0)).slices
    kept = [f"{number:03}" for number in range(MAX_SLICES - 1)]
    assert list(found) == [*kept, OTHERS]
    assert {found[name].rows for name in kept} == {2}
    assert sum(one.rows for one in found.values()) == 153


def test_slice_in_which_a_metric_is_not_defined_has_no_interval_of_it() -> None:
    drawn = np.random.default_rng(0)
    targets = (np.arange(60) % 2).astype(np.float32)
    targets[:30] = 1
    rows = Rows(
        drawn.standard_normal(60).astype(np.float32),
        targets,
        np.zeros((60, 2), np.int64),
        ("ones",) * 30 + ("both",) * 29 + ("alone",),
    )
    found = evaluate_model(nn.Identity(), rows, order("binary", "bce", "roc_auc")).slices
    assert found["ones"].intervals.keys() == {"val_loss"}
    assert found["both"].intervals.keys() == {"roc_auc", "val_loss"}
    assert found["alone"].intervals == {}


def test_slice_without_intervals_is_written_as_it_was_before_there_were_any() -> None:
    assert msgspec.json.encode(SliceMetrics(3, {"mae": 1.0})) == b'{"rows":3,"metrics":{"mae":1.0}}'
