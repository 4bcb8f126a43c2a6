"""Drift is told where there is some: rarely without a shift, always with half a sigma."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from chimera.schemas.dataset_statistics import DatasetStatistics
from chimera.workers.training.drift import compare_stats
from chimera.workers.training.statistics import RunningStatistics

ROWS, COLUMNS, SEEDS = 1_000, 6, 200
SIGMA, WHOLE = 5, COLUMNS - 2  # of the column of whole numbers, and which it is
SIZES = pytest.mark.parametrize("sizes", [(ROWS, ROWS), (20_000, 400)], ids=["1:1", "50:1"])


def statistics(rows: NDArray[np.float64]) -> DatasetStatistics:
    found = RunningStatistics([f"c{at}" for at in range(rows.shape[1])])
    found.add(rows)
    return found.finish("0" * 64, {})


def drawn(seed: int, shift: float = 0.0, rows: int = ROWS, at: int = 0) -> NDArray[np.float64]:
    """The last column is one of categories, the one before of whole numbers; shifted in sigmas."""
    source = np.random.default_rng(seed)
    found = source.standard_normal((rows, COLUMNS))
    found[:, at] += shift
    found[:, -2] = np.round(SIGMA * found[:, -2])
    found[:, -1] = source.integers(0, 4, rows)
    return found


@cache
def alarms(sizes: tuple[int, int]) -> tuple[int, int, int]:
    """Data sets that alarm though nothing has moved; that do where a number, or a whole number, has."""
    counts = [0, 0, 0]
    for seed in range(SEEDS):
        before = statistics(drawn(seed, rows=sizes[0]))
        for case, (at, shift) in enumerate(((0, 0.0), (0, 0.5), (WHOLE, 0.5))):
            now = drawn(10_000 + seed, shift, sizes[1], at)
            found = compare_stats(before, statistics(now))
            told = {one.column for one in found if one.is_drift}
            counts[case] += f"c{at}" in told if shift else bool(told)
    return counts[0], counts[1], counts[2]


@SIZES
def test_false_alarms_are_within_the_level(sizes: tuple[int, int]) -> None:
    assert alarms(sizes)[0] <= 0.05 * SEEDS


@SIZES
def test_every_shift_of_half_a_sigma_is_found(sizes: tuple[int, int]) -> None:
    assert alarms(sizes)[1:] == (SEEDS, SEEDS)


def test_flag_that_half_were_and_seven_tenths_are_has_drifted_whatever_the_sizes() -> None:
    """1 : 50, and 50 : 1."""
    sides: list[DatasetStatistics] = []
    for seed, (rows, share) in enumerate(((100_000, 0.5), (2_000, 0.7))):
        flag = (np.random.default_rng(seed).random((rows, 1)) < share).astype(np.float64)
        sides.append(statistics(flag))
    for before, now in (sides, sides[::-1]):
        (found,) = compare_stats(before, now)
        assert (found.test, found.is_drift) == ("chi2", True)


def test_columns_that_appear_and_vanish_are_told_first() -> None:
    before, now = drawn(1), drawn(2)
    found = compare_stats(statistics(before[:, :3]), statistics(now))
    assert [(one.column, one.test) for one in found if one.is_drift] == [
        ("c3", "appeared"),
        ("c4", "appeared"),
        ("c5", "appeared"),
    ]
    found = compare_stats(statistics(before), statistics(now[:, :5]))
    assert (found[0].column, found[0].test, found[0].is_drift) == ("c5", "vanished", True)
    assert len(found) == COLUMNS


def test_shifted_column_comes_first_with_its_size() -> None:
    found = compare_stats(statistics(drawn(1)), statistics(drawn(2, 0.5)))
    assert found[0].column == "c0"
    assert found[0].mean_delta == pytest.approx(0.5, abs=0.1)
    assert found[0].psi > 0.1
    assert [one.column for one in found if one.is_drift] == ["c0"]


def test_categories_that_change_their_shares_are_found() -> None:
    before, now = drawn(1), drawn(2)
    now[now[:, -1] == 3, -1] = 0
    found = compare_stats(statistics(before), statistics(now))
    assert [(one.column, one.test) for one in found if one.is_drift] == [("c5", "chi2")]


def test_tiny_shift_of_many_rows_is_sure_and_no_drift() -> None:
    before, now = drawn(1, rows=100_000), drawn(2, 0.05, rows=100_000)
    now[:, -1] = np.where(np.arange(100_000) % 50 == 0, 0, now[:, -1])
    found = compare_stats(statistics(before), statistics(now))
    categories = next(one for one in found if one.test == "chi2")
    assert categories.p_value < 1e-6
    assert not any(one.is_drift for one in found)
