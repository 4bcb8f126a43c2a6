"""Whether a data set comes from where an earlier one came from: a test for each column.

    numbers      two samples, Kolmogorov and Smirnov
    categories   chi-square of homogeneity, over all rows; of two of which one is rare Fisher's exact
    columns      that appeared or vanished have drifted

A column has drifted where the difference is both sure and large enough to matter, since of many rows any
difference is sure. Sure: p below the level after Holm's (1979) correction over all columns, so that the
level holds for the data set. Large, one of:

    distance     of the distributions, of categories their total variation: `MIN_DISTANCE`
    shift        of the mean, or of a category's share, in its standard deviations before: `MIN_SHIFT`
    PSI          over tenths of the earlier sample, or categories: `MIN_PSI`, and more than chance makes it

Distance and shift do not depend on how many rows there are; the shift is what is left to see of a category that is
rare. Of PSI chance makes (1/n + 1/m) times a chi-square of as many degrees as there are bins but one
(Yurdakul 2018). The rarest categories stand as one until `MIN_EXPECTED` rows of them are expected of the
smaller side, else chi-square is none (Cochran 1954). `tests/workers/training/test_drift.py`: 200
seeds without a shift, and with half a sigma, of shares from 0.1 to 50 %.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (scipy's functions are typed in part)

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chimera.schemas.dataset_statistics import ColumnStatistics, DatasetStatistics
from chimera.schemas.training_manifest import Drift

LEVEL = 0.05
MIN_DISTANCE, MIN_SHIFT, MIN_PSI = 0.1, 0.25, 0.1
MIN_EXPECTED = 5
BINS = 10

Floats = NDArray[np.float64]


class _Test(NamedTuple):
    column: str
    kind: Literal["ks", "chi2"]
    p_value: float
    psi: float
    mean_delta: float
    is_large: bool


def compare_stats(
    before: DatasetStatistics, now: DatasetStatistics, level: float = LEVEL
) -> tuple[Drift, ...]:
    """Every column: first those that only one has, then by how sure the difference is."""
    tests = sorted(
        (_test(name, before, now, level) for name in before.columns if name in now.columns),
        key=lambda one: one.p_value,
    )
    found = [
        *(_alone(name, "vanished") for name in before.columns if name not in now.columns),
        *(_alone(name, "appeared") for name in now.columns if name not in before.columns),
    ]
    is_sure = True
    for at, one in enumerate(tests):
        is_sure = is_sure and one.p_value <= level / (len(tests) - at)
        found.append(
            Drift(
                one.column,
                one.kind,
                one.p_value,
                one.psi,
                one.mean_delta,
                now.columns[one.column].std / _spread(before.columns[one.column]),
                is_sure and one.is_large,
            )
        )
    return tuple(found)


def _alone(name: str, what: Literal["appeared", "vanished"]) -> Drift:
    """Of a column that one side has: there is nothing to measure."""
    return Drift(name, what, p_value=0.0, psi=0.0, mean_delta=0.0, std_ratio=1.0, is_drift=True)


def _spread(column: ColumnStatistics) -> float:
    return column.std or 1.0


def _test(name: str, before: DatasetStatistics, now: DatasetStatistics, level: float) -> _Test:
    from scipy import stats  # 0.3 s, which a run without one before it need not pay

    old, new = before.columns[name], now.columns[name]
    mean_delta = (new.mean - old.mean) / _spread(old)
    shift = abs(mean_delta)
    kind: Literal["ks", "chi2"]
    if old.categories and new.categories:
        kind, table = "chi2", _together(_counts(old, new))
        p_value, distance = _chi_square(table)
        shift = max(shift, _shift(table))
    else:
        kind, table = "ks", _tenths(before.sample[name], now.sample[name])
        found = stats.ks_2samp(before.sample[name], now.sample[name], method="asymp")
        p_value, distance = float(found.pvalue), float(found.statistic)
    psi = _psi(table)
    freedom = max(table.shape[1] - 1, 1)
    by_chance = float((1 / table.sum(axis=1)).sum() * stats.chi2.isf(level, freedom))
    is_large = distance >= MIN_DISTANCE or shift >= MIN_SHIFT or psi >= max(MIN_PSI, by_chance)
    return _Test(name, kind, p_value, psi, mean_delta, is_large)


def _counts(old: ColumnStatistics, new: ColumnStatistics) -> Floats:
    """A table [2, categories]."""
    names = sorted({*old.categories, *new.categories})
    return np.array([[one.categories.get(name, 0) for name in names] for one in (old, new)], float)


def _together(counts: Floats) -> Floats:
    """The rarest categories as one, and so on; the commonest stands by itself."""
    share = counts.sum(axis=1).min() / counts.sum()
    *rarest, commonest = np.argsort(counts.sum(axis=0), kind="stable").tolist()
    bins: list[Floats] = []
    for at in rarest:
        if bins and bins[-1].sum() * share < MIN_EXPECTED:
            bins[-1] = bins[-1] + counts[:, at]
        else:
            bins.append(counts[:, at])
    if len(bins) > 1 and bins[-1].sum() * share < MIN_EXPECTED:
        bins[-2:] = [bins[-2] + bins[-1]]
    return np.stack((*bins, counts[:, commonest]), axis=1)


def _chi_square(counts: Floats) -> tuple[float, float]:
    """p, and the total variation distance."""
    if counts.shape[1] < 2:
        return 1.0, 0.0
    from scipy import stats

    sides = counts.sum(axis=1)
    is_rare = counts.sum(axis=0).min() * sides.min() / sides.sum() < MIN_EXPECTED
    if counts.shape == (2, 2) and is_rare:
        p_value = float(stats.fisher_exact(counts.astype(int)).pvalue)
    else:
        p_value = float(stats.chi2_contingency(counts, correction=False).pvalue)
    shares = counts / sides[:, None]
    return p_value, float(np.abs(shares[1] - shares[0]).sum() / 2)


def _shift(counts: Floats) -> float:
    """Of the share that moved most in its own standard deviations."""
    old, new = _shares(counts)
    spread = np.sqrt(old * (1 - old))
    return float((np.abs(new - old) / np.where(spread, spread, 1.0)).max())


def _tenths(old: Sequence[float], new: Sequence[float]) -> Floats:
    """A table [2, bins], each with about a tenth of the earlier sample."""
    edges = np.unique(np.quantile(old, np.linspace(0, 1, BINS + 1)[1:-1]))
    sides = (np.searchsorted(edges, one) for one in (old, new))
    return np.array([np.bincount(one, minlength=len(edges) + 1) for one in sides], float)


def _psi(counts: Floats) -> float:
    """Population stability index."""
    old, new = _shares(counts)
    return float(((new - old) * np.log(new / old)).sum())


def _shares(counts: Floats) -> Floats:
    """Half a row stands in a bin that is empty."""
    found: Floats = np.maximum(counts, 0.5)
    shares: Floats = found / found.sum(axis=1, keepdims=True)
    return shares
