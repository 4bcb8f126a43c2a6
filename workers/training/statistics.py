"""Statistics of columns in one pass: moments, extremes, categories, and a sample of rows.

Moments by Chan, Golub and LeVeque (1979), so that neither the order nor the size of chunks matters
beyond rounding. The sample is bottom-k (Cohen and Kaplan 2007): the rows whose places have the smallest
keys (`row_keys.py`), so that rows are drawn by chance, not by content, and a data set always has the same.
`tests/workers/training/test_preparation.py` compares with numpy.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chimera.schemas.dataset_statistics import QUANTILES, ColumnStatistics, DatasetStatistics
from chimera.workers.training.numeral import numeral
from chimera.workers.training.row_keys import Keys, place_keys

SAMPLE_ROWS = 4_096
MAX_CATEGORIES = 100
MAX_SPAN = 1 << 16  # of whole numbers that are counted without sorting them

Floats = NDArray[np.float64]


class RunningStatistics:
    """Of named columns; `add` chunks, then `finish`."""

    def __init__(self, names: Sequence[str]) -> None:
        width = len(names)
        self.rows = 0
        self.names = tuple(names)
        self._mean, self._squares = np.zeros(width), np.zeros(width)
        self._min, self._max = np.full(width, np.inf), np.full(width, -np.inf)
        self._sample, self._keys = np.zeros((0, width)), np.zeros(0, np.uint64)
        self._limit = np.uint64(2**64 - 1)  # no key from here on is among the smallest
        self._categories: list[dict[float, int] | None] = [{} for _ in names]

    def add(self, rows: NDArray[Any]) -> None:
        """`rows` [rows, columns], which follow those before."""
        if not len(rows):
            return
        keys = place_keys(self.rows, len(rows))
        numbers = rows.astype(np.float64)
        self._moments(numbers)
        self._min = np.minimum(self._min, numbers.min(axis=0))
        self._max = np.maximum(self._max, numbers.max(axis=0))
        self._keep(numbers, keys)
        for at, counts in enumerate(self._categories):
            if counts is not None:
                self._categories[at] = _counted(counts, numbers[:, at])

    def _moments(self, numbers: Floats) -> None:
        count = len(numbers)
        total = self.rows + count
        mean = numbers.mean(axis=0)
        delta = mean - self._mean
        apart = numbers - mean
        self._squares += np.einsum("ij,ij->j", apart, apart)
        self._squares += delta**2 * self.rows * count / total
        self._mean += delta * count / total
        self.rows = total

    def _keep(self, numbers: Floats, keys: Keys) -> None:
        """The smallest keys' rows. After the first chunks hardly a row is one of them."""
        near = np.flatnonzero(keys < self._limit)
        kept = np.concatenate((self._keys, keys[near]))
        rows = np.concatenate((self._sample, numbers[near]))
        chosen = np.argsort(kept, kind="stable")[:SAMPLE_ROWS]
        self._keys, self._sample = kept[chosen], rows[chosen]
        if len(chosen) == SAMPLE_ROWS:
            self._limit = self._keys[-1]

    def finish(self, dataset_digest: str, nulls: dict[str, int]) -> DatasetStatistics:
        """All that was seen."""
        columns = {name: self._column(at, nulls.get(name, 0)) for at, name in enumerate(self.names)}
        sample = {name: tuple(self._sample[:, at].tolist()) for at, name in enumerate(self.names)}
        return DatasetStatistics(
            rows=self.rows, columns=columns, sample=sample, dataset_digest=dataset_digest
        )

    def _column(self, at: int, nulls: int) -> ColumnStatistics:
        sample = self._sample[:, at]
        quantiles: list[float] = np.quantile(sample, QUANTILES).tolist() if len(sample) else []
        counts = self._categories[at] or {}
        return ColumnStatistics(
            count=self.rows,
            nulls=nulls,
            mean=float(self._mean[at]),
            std=float(np.sqrt(self._squares[at] / max(self.rows, 1))),
            min=float(self._min[at]) if self.rows else 0.0,
            max=float(self._max[at]) if self.rows else 0.0,
            quantiles={f"{q:g}": one for q, one in zip(QUANTILES, quantiles, strict=False)},
            categories={numeral(value): counts[value] for value in sorted(counts)},
        )


def _counted(counts: dict[float, int], numbers: Floats) -> dict[float, int] | None:
    """None: the column is none of categories."""
    if (numbers != np.floor(numbers)).any():
        return None
    values, found = _values(numbers)
    if len(values) > MAX_CATEGORIES:
        return None
    for value, count in zip(values, found, strict=True):
        counts[value] = counts.get(value, 0) + count
    return counts if len(counts) <= MAX_CATEGORIES else None


def _values(numbers: Floats) -> tuple[list[float], list[int]]:
    """Whole numbers, each once, and how often it is there."""
    low = float(numbers.min())
    if numbers.max() - low >= MAX_SPAN:
        values, found = np.unique(numbers, return_counts=True)
        return values.tolist(), found.tolist()
    counts = np.bincount((numbers - low).astype(np.int64))
    there = np.flatnonzero(counts)
    return [low + at for at in there.tolist()], counts[there].tolist()
