"""What one pass tells of a data set: each column's numbers, and a sample of its rows.

The sample is what quantiles, and later the tests for drift, are made of: rows drawn by their places, in
every run alike, so that one data set always has the same. `tests/workers/training`.
"""

from typing import Annotated

import msgspec

STATISTICS_VERSION = 1
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


class ColumnStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Of the good rows."""

    count: int
    nulls: int = 0  # filled, dropped or refused
    mean: float
    std: float  # of the population
    min: float
    max: float
    quantiles: dict[str, float] = {}  # from the sample
    categories: dict[str, int] = {}  # a whole-numbered column with few values: how often each


class DatasetStatistics(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    columns: dict[str, ColumnStatistics]
    sample: dict[str, tuple[float, ...]]  # of each column, row by row
    dataset_digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    v: int = STATISTICS_VERSION
