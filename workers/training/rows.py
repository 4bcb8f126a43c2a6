"""Rows as a schema wants them: checked, filled, and made into arrays; each bad one with its reason.

A row is bad for its first fault: a value that is no number, out of range, missing, or a list of
another length than the ones before. A missing column is a fault of the file. Pure but for a
transform, which is the operator's own code. `tests/workers/training/test_preparation.py`.
"""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chimera.schemas.errors import TrainingRefused
from chimera.schemas.training_config import Column, DatasetSchema, Task
from chimera.workers.training.sources import Chunk

CLASSES = ("multiclass", "embedding")
ANY_NUMBER = Column()
CLASS = Column(dtype="integer", minimum=0)
TEXT = Column(dtype="text")
DTYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype(np.float32), "INT64": np.dtype(np.int64)}


class BadRow(NamedTuple):
    """`row` counts from 1, without a header."""

    url: str
    row: int
    column: str
    reason: str

    def __str__(self) -> str:
        return f"{self.url}, row {self.row}, column {self.column}: {self.reason}"


class Good(NamedTuple):
    """Rows of one chunk, as many in each array."""

    features: NDArray[Any]  # [rows, ...]
    target: NDArray[Any]  # [rows] or [rows, columns]
    slices: list[str] | None  # the column that evaluation is sliced by
    numbers: NDArray[np.int64]  # of the rows in their file


class RowReader:
    """Of one data set: what the first chunk has, the others must have, too."""

    def __init__(
        self,
        schema: DatasetSchema,
        task: Task,
        slice: str | None = None,
        transform: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    ) -> None:
        self._schema, self._task, self._slice = schema, task, slice
        self._transform = transform
        self._names: list[str] | None = None
        self._lengths: dict[str, int] = {}

    @property
    def features(self) -> list[str]:
        """Columns, in the order of the input; known after the first chunk."""
        return list(self._names or ())

    def read(self, chunk: Chunk) -> tuple[Good, list[BadRow]]:
        """Raises TrainingRefused: a column is missing, or the transform fails."""
        rows = self._transformed(chunk)
        numbers = np.arange(chunk.first, chunk.first + len(rows))
        names = self._columns(chunk.url, rows)
        targets = _tuple(self._schema.target)
        is_good = np.ones(len(rows), np.bool_)
        bad: list[BadRow] = []
        arrays: dict[str, NDArray[Any]] = {}
        for name in dict.fromkeys((*names, *targets, *self._others())):
            values, fault = self._column(rows[name], name, self._rule(name))
            arrays[name] = values
            for at in np.flatnonzero((fault != "") & is_good):
                is_good[at] = False
                if fault[at] != DROPPED:
                    bad.append(BadRow(chunk.url, int(numbers[at]), name, str(fault[at])))
        return self._good(arrays, names, targets, is_good, numbers), bad

    def _rule(self, name: str) -> Column:
        if name in self._schema.columns:
            return self._schema.columns[name]
        if name in _tuple(self._schema.target) and self._task in CLASSES:
            return CLASS
        return TEXT if name == self._slice else ANY_NUMBER

    def _transformed(self, chunk: Chunk) -> pd.DataFrame:
        if self._transform is None:
            return chunk.rows
        try:
            found = self._transform(chunk.rows)
        except Exception as error:  # the operator's own code
            raise TrainingRefused(
                f"{chunk.url}: transform {self._schema.transform}: {type(error).__name__}: {error}"
            ) from error
        if len(found) != len(chunk.rows):
            raise TrainingRefused(
                f"transform {self._schema.transform} made {len(found)} rows of {len(chunk.rows)}:"
                " it may change columns, rows have to stay"
            )
        return found

    def _others(self) -> Iterable[str]:
        return (*self._schema.required_columns, *((self._slice,) if self._slice else ()))

    def _columns(self, url: str, rows: pd.DataFrame) -> list[str]:
        """The features' columns, patterns resolved by the first file's order."""
        has = [str(name) for name in rows.columns]
        if self._names is None:
            self._names = [
                name
                for pattern in self._schema.features
                for name in ([one for one in has if fnmatchcase(one, pattern)] or [pattern])
            ]
        wanted = (*self._names, *_tuple(self._schema.target), *self._others())
        missing = [name for name in wanted if name not in has]
        if missing:
            raise TrainingRefused(f"{url}: there is no column {missing[0]!r}, only {has[:20]}")
        return self._names

    def _column(
        self, found: "pd.Series[Any]", name: str, rule: Column
    ) -> tuple[NDArray[Any], NDArray[np.str_]]:
        """Its values, and for each row what is wrong, if anything."""
        fault = np.full(len(found), "", "U160")
        nulls = found.isna().to_numpy(np.bool_)
        if rule.nulls == "fill" and rule.fill is not None:
            found = found.fillna(rule.fill)
        elif nulls.any():
            fault[nulls] = DROPPED if rule.nulls == "drop" else "no value"
        if rule.dtype == "text":
            return found.map(str).to_numpy(np.object_), fault
        if len(found) and isinstance(found.iloc[0], list | tuple | np.ndarray):
            return self._lists(found, name, rule, fault)
        numbers = pd.to_numeric(found, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        is_none = np.isnan(numbers) & (fault == "")
        for at in np.flatnonzero(is_none):
            fault[at] = f"{str(found.iloc[at])[:60]!r} is no number"
        _check(numbers, rule, fault)
        return numbers, fault

    def _lists(
        self, found: "pd.Series[Any]", name: str, rule: Column, fault: NDArray[np.str_]
    ) -> tuple[NDArray[Any], NDArray[np.str_]]:
        """A column whose values are lists: one row of numbers each, all of one length."""
        length = self._lengths.setdefault(name, len(found.iloc[0]))
        numbers = np.zeros((len(found), length))
        for at, value in enumerate(found):
            if fault[at]:
                continue
            try:
                row = np.asarray(value, np.float64)
            except (ValueError, TypeError):
                fault[at] = f"{str(value)[:60]!r} is no list of numbers"
                continue
            if row.shape != (length,):
                fault[at] = f"a list of {row.shape}, not of {length}"
            else:
                numbers[at] = row
        _check(numbers, rule, fault)
        return numbers, fault

    def _good(
        self,
        arrays: dict[str, NDArray[Any]],
        names: list[str],
        targets: tuple[str, ...],
        is_good: NDArray[np.bool_],
        numbers: NDArray[np.int64],
    ) -> Good:
        columns = [arrays[name].reshape(len(is_good), -1) for name in names]
        features = np.concatenate(columns, axis=1)[is_good]
        wanted = np.concatenate([arrays[name].reshape(len(is_good), -1) for name in targets], 1)
        target = wanted[is_good].astype(np.int64 if self._task in CLASSES else np.float32)
        if len(targets) == 1 and target.shape[1] == 1:
            target = target[:, 0]
        slices = None if self._slice is None else arrays[self._slice][is_good].tolist()
        dtype = DTYPES[self._schema.feature_dtype]
        return Good(np.asarray(features, dtype), target, slices, numbers[is_good])


DROPPED = "dropped"  # a null in a column whose nulls are to be dropped: no fault of the row


def _check(numbers: NDArray[np.float64], rule: Column, fault: NDArray[np.str_]) -> None:
    """Range, finiteness, and being whole."""
    per_row = numbers.reshape(len(numbers), -1)
    checks: list[tuple[NDArray[np.bool_], str]] = [(~np.isfinite(per_row), "is not finite")]
    if rule.minimum is not None:
        checks.append((per_row < rule.minimum, f"is below {rule.minimum:g}"))
    if rule.maximum is not None:
        checks.append((per_row > rule.maximum, f"is above {rule.maximum:g}"))
    if rule.dtype == "integer":
        checks.append((per_row != np.floor(per_row), "is not whole"))
    for is_wrong, what in checks:
        for at in np.flatnonzero(is_wrong.any(axis=1) & (fault == "")):
            value = per_row[at][is_wrong[at]][0]
            fault[at] = f"{value:g} {what}"


def _tuple(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names
