"""Drift is told where there is some: rarely without a shift, always with half a sigma."""

import numpy as np
import pytest
from numpy.typing import NDArray

from chimera.schemas.dataset_statistics import DatasetStatistics
from chimera.workers.training.drift import compare_stats
from chimera.workers.training.statistics import RunningStatistics

ROWS, COLUMNS, SEEDS = 1_000, 6, 200


def statistics(rows: NDArray[np.float64], seed: int) -> DatasetStatistics:
    found = RunningStatistics([f"c{at}" for at in range(rows.shape[1])])
    keys = np.random.default_rng((9, seed)).integers(0, 2**63, len(rows)).astype(np.uint64)
    found.add(rows, keys)
    return found.finish("0" * 64, {})


def drawn(seed: int, shift: float = 0.0, rows: int = ROWS) -> NDArray[np.float64]:
    """The last column is one of categories; the shift is the first's."""
    source = np.random.default_rng(seed)
    found = source.standard_normal((rows, COLUMNS))
    found[:, 0] += shift
    found[:, -1] = source.integers(0, 4, rows)
    return found


def alarms(shift: float) -> int:
    count = 0
    for seed in range(SEEDS):
        before, now = drawn(seed), drawn(10_000 + seed, shift)
        found = compare_stats(statistics(before, seed), statistics(now, 10_000 + seed))
        count += any(one.is_drift for one in found)
    return count


def test_false_alarms_are_within_the_level() -> None:
    assert alarms(0.0) <= 0.05 * SEEDS


def test_every_shift_of_half_a_sigma_is_found() -> None:
    assert alarms(0.5) == SEEDS


def test_shifted_column_comes_first_with_its_size() -> None:
    found = compare_stats(statistics(drawn(1), 1), statistics(drawn(2, 0.5), 2))
    assert found[0].column == "c0"
    assert found[0].mean_delta == pytest.approx(0.5, abs=0.1)
    assert found[0].psi > 0.1
    assert [one.column for one in found if one.is_drift] == ["c0"]


def test_categories_that_change_their_shares_are_found() -> None:
    before, now = drawn(1), drawn(2)
    now[now[:, -1] == 3, -1] = 0
    found = compare_stats(statistics(before, 1), statistics(now, 2))
    assert [(one.column, one.test) for one in found if one.is_drift] == [("c5", "chi2")]


def test_tiny_shift_of_many_rows_is_sure_and_no_drift() -> None:
    before, now = drawn(1, rows=100_000), drawn(2, 0.05, rows=100_000)
    now[:, -1] = np.where(np.arange(100_000) % 50 == 0, 0, now[:, -1])
    found = compare_stats(statistics(before, 1), statistics(now, 2))
    categories = next(one for one in found if one.test == "chi2")
    assert categories.p_value < 1e-6
    assert not any(one.is_drift for one in found)
