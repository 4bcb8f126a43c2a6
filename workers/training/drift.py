"""Whether a data set comes from where an earlier one came from: a test for each column.

    numbers      two samples, Kolmogorov and Smirnov
    categories   chi-square of homogeneity, over all rows
    columns      that appeared or vanished have drifted

A column has drifted where the difference is both sure and large enough to matter: p below the level
after Holm's (1979) correction over all columns, so that the level holds for the data set, and an
effect of at least `MIN_EFFECT`, since of many rows any difference is sure. The effect is the largest
distance of the distributions, of categories their total variation distance: neither depends on how
many rows each side has. PSI, over tenths of the earlier sample, is told beside them.
`tests/workers/training/test_drift.py`: 200 seeds without a shift, and with half a sigma.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (scipy's functions are typed in part)

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chimera.schemas.dataset_statistics import ColumnStatistics, DatasetStatistics
from chimera.schemas.training_manifest import Drift

LEVEL = 0.05
MIN_EFFECT = 0.1
BINS = 10

Floats = NDArray[np.float64]


class _Test(NamedTuple):
    column: str
    is_categories: bool
    p_value: float
    effect: float


def compare_stats(
    before: DatasetStatistics, now: DatasetStatistics, level: float = LEVEL
) -> tuple[Drift, ...]:
    """Every column: first those that only one has, then by how sure the difference is."""
    tests = sorted(
        (_test(name, before, now) for name in before.columns if name in now.columns),
        key=lambda one: one.p_value,
    )
    found = [
        *(_alone(name, "vanished") for name in before.columns if name not in now.columns),
        *(_alone(name, "appeared") for name in now.columns if name not in before.columns),
    ]
    is_sure = True
    for at, one in enumerate(tests):
        is_sure = is_sure and one.p_value <= level / (len(tests) - at)
        old, new = before.columns[one.column], now.columns[one.column]
        spread = old.std or 1.0
        found.append(
            Drift(
                one.column,
                "chi2" if one.is_categories else "ks",
                one.p_value,
                _psi(before, now, one.column),
                (new.mean - old.mean) / spread,
                new.std / spread,
                is_sure and one.effect >= MIN_EFFECT,
            )
        )
    return tuple(found)


def _alone(name: str, what: Literal["appeared", "vanished"]) -> Drift:
    """Of a column that one side has: there is nothing to measure."""
    return Drift(name, what, p_value=0.0, psi=0.0, mean_delta=0.0, std_ratio=1.0, is_drift=True)


def _test(name: str, before: DatasetStatistics, now: DatasetStatistics) -> _Test:
    old, new = before.columns[name], now.columns[name]
    if old.categories and new.categories:
        return _Test(name, True, *_chi_square(_counts(old, new)))
    from scipy import stats  # 0.3 s, which a run without one before it need not pay

    found = stats.ks_2samp(before.sample[name], now.sample[name], method="asymp")
    return _Test(name, False, float(found.pvalue), float(found.statistic))


def _chi_square(counts: Floats) -> tuple[float, float]:
    """p, and the total variation distance, of a table [2, categories]."""
    if counts.shape[1] < 2:
        return 1.0, 0.0
    from scipy import stats

    found = stats.chi2_contingency(counts, correction=False)
    shares = counts / counts.sum(axis=1, keepdims=True)
    return float(found.pvalue), float(np.abs(shares[1] - shares[0]).sum() / 2)


def _counts(old: ColumnStatistics, new: ColumnStatistics) -> Floats:
    names = sorted({*old.categories, *new.categories})
    return np.array([[one.categories.get(name, 0) for name in names] for one in (old, new)], float)


def _psi(before: DatasetStatistics, now: DatasetStatistics, name: str) -> float:
    """Population stability index; half a row stands in a bin that is empty."""
    old, new = before.columns[name], now.columns[name]
    if old.categories and new.categories:
        table = _counts(old, new)
    else:
        sample = np.array(before.sample[name])
        edges = np.unique(np.quantile(sample, np.linspace(0, 1, BINS + 1)[1:-1]))
        sides = (sample, np.array(now.sample[name]))
        table = np.array(
            [np.bincount(np.searchsorted(edges, one), minlength=len(edges) + 1) for one in sides],
            float,
        )
    shares = np.maximum(table, 0.5)
    shares /= shares.sum(axis=1, keepdims=True)
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
