"""One column of a chunk made into numbers, and what is wrong with each value that is not good.

A column holds numbers, or lists of one length. Which, and what length, is what most of its values are in
the first chunk that has any, and holds for all chunks after it: so a null, a wrong value, or a list
of another length is one bad row wherever it stands, at the beginning too.
`tests/workers/training/test_columns.py`.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chimera.schemas.training_config import Column
from chimera.workers.training.numeral import numeral

NUMBERS, TIMES = "fiub", "mM"  # kinds of numpy's dtypes
LARGEST = float(np.finfo(np.float32).max)


class Faults:
    """Of the rows of one chunk: the first one of each."""

    def __init__(self, rows: int) -> None:
        self.is_good = np.ones(rows, np.bool_)
        self.told: list[tuple[int, str, str]] = []  # row, column, reason
        self.nulls: Counter[str] = Counter()

    @property
    def dropped(self) -> int:
        return int((~self.is_good).sum()) - len(self.told)

    def add(self, column: str, is_wrong: NDArray[np.bool_], reason: Callable[[int], str]) -> None:
        """Of rows that were good so far; `reason` is asked for those alone."""
        for at in np.flatnonzero(is_wrong & self.is_good).tolist():
            self.told.append((at, column, reason(at)))
        self.drop(is_wrong)

    def drop(self, chosen: NDArray[np.bool_]) -> None:
        """They go, and nothing is wrong with them."""
        self.is_good &= ~chosen


class Columns:
    """Of one data set: which columns hold lists, and of what length."""

    def __init__(self) -> None:
        self._has_lists: dict[str, bool] = {}
        self._lengths: dict[str, int] = {}

    def read(
        self, found: "pd.Series[Any]", name: str, rule: Column, faults: Faults
    ) -> NDArray[Any]:
        """[rows], or [rows, length] of lists; of rows that have no good value, anything."""
        if rule.dtype == "text":
            return _filled(found, name, rule, faults).map(str).to_numpy(np.object_)
        has_lists = self._decided(found, name, rule)
        found = _filled(found, name, rule, faults)
        numbers = self._lists(found, name, faults) if has_lists else _numbers(found, name, faults)
        _check(numbers, name, rule, faults)
        return numbers

    def _decided(self, found: "pd.Series[Any]", name: str, rule: Column) -> bool:
        """Whether it holds lists. Left open by a chunk that has neither, unless that is filled."""
        if name not in self._has_lists:
            lists, numbers = _kinds(found)
            if not lists and not numbers and rule.nulls != "fill":
                return False
            self._has_lists[name] = bool(lists) and lists >= numbers
        return self._has_lists[name]

    def _lists(self, found: "pd.Series[Any]", name: str, faults: Faults) -> NDArray[np.float64]:
        values: list[Any] = found.tolist()
        if name not in self._lengths:
            counts = Counter(len(one) for one in values if _is_list(one))
            self._lengths[name] = max(counts, key=counts.__getitem__)  # of equal ones the first
        length = self._lengths[name]
        try:
            numbers = np.array(values, np.float64)
        except (ValueError, TypeError):
            numbers = np.zeros(0)
        if numbers.shape == (len(values), length):
            return numbers
        numbers = np.zeros((len(values), length))
        reasons: dict[int, str] = {}
        for at in np.flatnonzero(faults.is_good).tolist():
            row = _row(values[at], length)
            if isinstance(row, str):
                reasons[at] = row
            else:
                numbers[at] = row
        faults.add(name, np.isin(np.arange(len(values)), list(reasons)), reasons.__getitem__)
        return numbers


def has_times(found: "pd.Series[Any]") -> bool:
    """Times or durations, or lists of them: numpy would make numbers of them, in whatever unit."""
    if found.dtype.kind != "O":
        return found.dtype.kind in TIMES
    values: list[Any] = found.tolist()
    dtype: Any = next((one.dtype for one in values if hasattr(one, "dtype")), None)
    return dtype is not None and dtype.kind in TIMES


def _filled(found: "pd.Series[Any]", name: str, rule: Column, faults: Faults) -> "pd.Series[Any]":
    """Its nulls are counted, and dealt with as the rule says."""
    nulls = found.isna().to_numpy(np.bool_)
    faults.nulls[name] = int(nulls.sum())
    if not nulls.any():
        return found
    if rule.nulls == "fill" and rule.fill is not None:
        return found.fillna(rule.fill)
    if rule.nulls == "drop":
        faults.drop(nulls)
    else:
        faults.add(name, nulls, lambda _: "no value")
    return found


def _kinds(found: "pd.Series[Any]") -> tuple[int, int]:
    """How many of its values are lists, and how many numbers."""
    if found.dtype.kind in NUMBERS:
        return 0, int(found.notna().sum())
    is_list = np.fromiter(map(_is_list, found), np.bool_, len(found))
    numbers = pd.to_numeric(found[~is_list], errors="coerce")
    return int(is_list.sum()), int(numbers.notna().sum())


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | np.ndarray) and len(value) > 0  # pyright: ignore[reportUnknownArgumentType]  # of anything


def _numbers(found: "pd.Series[Any]", name: str, faults: Faults) -> NDArray[np.float64]:
    numbers = pd.to_numeric(found, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    if found.dtype.kind not in NUMBERS:
        is_none = np.isnan(numbers)
        faults.add(name, is_none, lambda at: f"{_short(found.iloc[at])} is no number")
    return numbers


def _row(value: Any, length: int) -> NDArray[np.float64] | str:
    """A list's numbers, or why it has none."""
    if _is_list(value):
        with suppress(ValueError, TypeError):
            row = np.asarray(value, np.float64)
            return row if row.shape == (length,) else f"a list of {row.shape}, not of {length}"
    return f"{_short(value)} is no list of numbers"


def _check(numbers: NDArray[np.float64], name: str, rule: Column, faults: Faults) -> None:
    """Range, finiteness, and being whole."""
    per_row = numbers.reshape(len(numbers), -1)
    checks: list[tuple[NDArray[np.bool_], str]] = [
        (~(np.abs(per_row) <= LARGEST), "is not finite in 32 bits")
    ]
    if rule.minimum is not None:
        checks.append((per_row < rule.minimum, f"is below {numeral(rule.minimum)}"))
    if rule.maximum is not None:
        checks.append((per_row > rule.maximum, f"is above {numeral(rule.maximum)}"))
    if rule.dtype == "integer":
        checks.append((per_row != np.floor(per_row), "is not whole"))
    for is_wrong, what in checks:
        if is_wrong.any():
            faults.add(
                name, np.asarray(is_wrong.any(axis=1)), partial(_told, per_row, is_wrong, what)
            )


def _told(numbers: NDArray[np.float64], is_wrong: NDArray[np.bool_], what: str, at: int) -> str:
    """The row's first number that is wrong, and what is wrong with it."""
    return f"{numeral(float(numbers[at][is_wrong[at]][0]))} {what}"


def _short(value: Any) -> str:
    return repr(str(value)[:60])
