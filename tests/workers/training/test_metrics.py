"""Metrics are scikit-learn's, on random outputs with ties; and NaN where there is none."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
# (scikit-learn ships no type information)

import math
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference  # type: ignore[import-untyped]  # ships no type information

from chimera.schemas.errors import TrainingRefused
from chimera.workers.training import metrics

SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
def test_regression_is_scikit_learns(seed: int) -> None:
    drawn = np.random.default_rng(seed)
    targets, outputs = drawn.standard_normal(50), drawn.standard_normal((50, 1))
    assert metrics.eval_mse(outputs, targets) == pytest.approx(
        reference.mean_squared_error(targets, outputs)
    )
    assert metrics.mae(outputs, targets) == pytest.approx(
        reference.mean_absolute_error(targets, outputs)
    )
    assert metrics.r2(outputs, targets) == pytest.approx(reference.r2_score(targets, outputs))


@pytest.mark.parametrize("seed", SEEDS)
def test_binary_is_scikit_learns(seed: int) -> None:
    drawn = np.random.default_rng(seed)
    targets = drawn.integers(0, 2, 80).astype(np.float32)
    outputs = np.round(drawn.standard_normal(80) + targets, 1)  # ties
    found = outputs > 0
    assert metrics.binary_accuracy(outputs, targets) == pytest.approx(
        reference.accuracy_score(targets, found)
    )
    assert metrics.binary_f1(outputs, targets) == pytest.approx(reference.f1_score(targets, found))
    assert metrics.roc_auc(outputs, targets) == pytest.approx(
        reference.roc_auc_score(targets, outputs)
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_classes_are_scikit_learns(seed: int) -> None:
    drawn = np.random.default_rng(seed)
    targets = drawn.integers(0, 5, 90)
    outputs = drawn.standard_normal((90, 5)) + 2 * np.eye(5)[targets]
    found = outputs.argmax(axis=1)
    assert metrics.accuracy(outputs, targets) == pytest.approx(
        reference.accuracy_score(targets, found)
    )
    assert metrics.macro_f1(outputs, targets) == pytest.approx(
        reference.f1_score(targets, found, average="macro")
    )


def test_calibration_error_is_that_of_an_example() -> None:
    targets = np.array([0, 0, 0, 1])
    outputs = np.log(np.array([[0.9, 0.1]] * 4))  # sure to 0.9, right in 3 of 4
    assert metrics.calibration(outputs, targets) == pytest.approx(0.15)


def test_recall_is_the_share_of_nearest_neighbours_of_the_same_class() -> None:
    outputs = np.array([[1, 0.0], [1, 0.1], [0, 1], [0.1, 1], [-1, 0.05]])
    assert metrics.recall_at_1(outputs, np.array([0, 0, 1, 1, 0])) == pytest.approx(0.8)


@pytest.mark.parametrize(
    "value",
    [
        metrics.roc_auc(np.ones(3), np.ones(3)),
        metrics.r2(np.ones(3), np.ones(3)),
    ],
)
def test_what_is_not_defined_is_no_number(value: float) -> None:
    assert math.isnan(value)


def test_unknown_metric_is_refused_with_the_known_ones() -> None:
    wrong: Any = ("bleu",)
    with pytest.raises(TrainingRefused, match="'bleu': binary has accuracy, f1"):
        metrics.metrics("binary", wrong)
