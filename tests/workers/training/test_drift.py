"""Drift is told where there is some: rarely without a shift, always with half a sigma, of shares too."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from chimera.schemas.dataset_statistics import DatasetStatistics
from chimera.workers.training.drift import compare_stats
from chimera.workers.training.statistics import RunningStatistics

ROWS, COLUMNS, SEEDS = 1_000, 6, 200
SIGMA, WHOLE = 5, COLUMNS - 2  # of the column of whole numbers, and which it is
SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
Made = Callable[[int, int], NDArray[np.float64]]
SIZES = pytest.mark.parametrize("sizes", [(ROWS, ROWS), (20_000, 400)], ids=["1:1", "50:1"])
SIZES_OF_RARE = pytest.mark.parametrize(
    "sizes", [(5_000, 5_000), (20_000, 400), (400, 20_000)], ids=["1:1", "50:1", "1:50"]
)


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


def flags(seed: int, rows: int, moved: int = -1) -> NDArray[np.float64]:
    """One for each of `SHARES`, and classes of which the last is rare; one of them half a sigma up."""
    source = np.random.default_rng((1, seed))
    shares = np.array((*SHARES, SHARES[0]))
    if moved >= 0:
        shares[moved] += 0.5 * np.sqrt(shares[moved] * (1 - shares[moved]))
    found = (source.random((rows, len(shares))) < shares).astype(np.float64)
    found[:, -1] = np.where(found[:, -1], 9, source.integers(0, 9, rows))
    return found


def tails(seed: int, rows: int) -> NDArray[np.float64]:
    """Counts of which most are 1, and a few are anything up to 90."""
    return np.minimum(np.random.default_rng((2, seed)).zipf(2.0, (rows, COLUMNS)), 90.0)


@pytest.mark.parametrize("made", [flags, tails])
@SIZES_OF_RARE
def test_false_alarms_of_what_is_rare_are_within_the_level(
    made: Made, sizes: tuple[int, int]
) -> None:
    alarms = 0
    for seed in range(SEEDS):
        before, now = (made(2 * seed + side, rows) for side, rows in enumerate(sizes))
        found = compare_stats(statistics(before), statistics(now))
        alarms += any(one.is_drift for one in found)
    assert alarms <= 0.05 * SEEDS


@pytest.mark.parametrize("moved", range(len(SHARES) + 1))
def test_share_that_rises_by_half_a_sigma_is_found_however_rare_it_was(moved: int) -> None:
    for seed in range(20):
        before, now = flags(2 * seed, 20_000), flags(2 * seed + 1, 20_000, moved)
        found = compare_stats(statistics(before), statistics(now))
        assert f"c{moved}" in {one.column for one in found if one.is_drift}


def test_share_of_numbers_that_rises_by_half_a_sigma_is_found() -> None:
    """Numbers that are nearly all 0, and else not whole."""
    before, now = (9.99 * flags(seed, 20_000, moved)[:, 4:5] for seed, moved in ((1, -1), (2, 4)))
    (found,) = compare_stats(statistics(before), statistics(now))
    assert (found.test, found.is_drift) == ("ks", True)
    assert found.mean_delta == pytest.approx(0.5, abs=0.1)


def test_spread_that_grows_is_found_by_its_stability_index() -> None:
    before, now = drawn(1, rows=20_000), drawn(2, rows=20_000)
    now[:, 0] *= 1.4
    found = compare_stats(statistics(before), statistics(now))
    assert [one.column for one in found if one.is_drift] == ["c0"]
    assert found[0].psi > 0.1
    assert abs(found[0].mean_delta) < 0.1


def test_categories_that_are_all_rare_are_compared_all_the_same() -> None:
    source = np.random.default_rng(0)
    before, same = source.integers(0, 90, (2, 200, 1)).astype(np.float64)
    (found,) = compare_stats(statistics(before), statistics(same))
    assert not found.is_drift
    (found,) = compare_stats(statistics(before), statistics(same // 2))
    assert (found.test, found.is_drift) == ("chi2", True)


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
