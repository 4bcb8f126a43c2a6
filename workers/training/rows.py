"""Rows as a schema wants them: checked, filled, and made into arrays; each bad one with its reason.

A row is bad for its first fault: a value that is no number, out of range, missing, or a list of
another length than the others (`columns.py`). The schema's rules narrow those of the task, and cannot
lift them: classes and tokens are whole, a binary target is 0 or 1. A column that is missing, or holds
times, is a fault of the file; one that is only required to be there has no rule unless the schema
gives one. Pure but for a transform, which is the operator's own code.
`tests/workers/training/test_rows.py`, `test_preparation.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from msgspec.structs import replace
from numpy.typing import NDArray

from chimera.schemas.errors import TrainingRefused
from chimera.schemas.training_config import Column, DatasetSchema, Task
from chimera.workers.training.chunks import BadRow, Chunk
from chimera.workers.training.columns import Columns, Faults, has_times
from chimera.workers.training.numeral import numeral

CLASSES = ("multiclass", "embedding")
WHOLE = 2.0**53 - 1  # from here on a double is several whole numbers
ANY_NUMBER, TEXT = Column(), Column(dtype="text")
TOKEN = Column(dtype="integer", minimum=-WHOLE, maximum=WHOLE)
CLASS = Column(dtype="integer", minimum=0, maximum=WHOLE)
FLAG = Column(dtype="integer", minimum=0, maximum=1)
TARGETS: dict[str, Column] = {"binary": FLAG, "multiclass": CLASS, "embedding": CLASS}
DTYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype(np.float32), "INT64": np.dtype(np.int64)}


class Good(NamedTuple):
    """Rows of one chunk, as many in each array."""

    features: NDArray[Any]  # [rows, ...]
    target: NDArray[Any]  # [rows] or [rows, columns]
    slices: list[str] | None  # the column that evaluation is sliced by
    numbers: NDArray[np.int64]  # of the rows in their file
    nulls: Mapping[str, int]  # of each column, in all rows: filled, dropped or refused
    dropped: int  # rows, for a null that the schema lets go


class RowReader:
    """Of one data set: what the first chunk has, the others must have, too."""

    def __init__(
        self,
        schema: DatasetSchema,
        task: Task,
        slice: str | None = None,
        transform: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
    ) -> None:
        """Raises TrainingRefused: text is to be learnt."""
        self._schema, self._task, self._slice = schema, task, slice
        self._transform = transform
        for name, rule in schema.columns.items():
            if rule.dtype == "text" and self._is_learnt(name):
                raise TrainingRefused(f"data.schema.columns.{name}: text cannot be learnt from")
        self._names: list[str] | None = None
        self._columns = Columns()

    @property
    def features(self) -> list[str]:
        """Columns, in the order of the input; known after the first chunk."""
        return list(self._names or ())

    @property
    def text(self) -> frozenset[str]:
        """Columns whose values are to be read as they are written."""
        named = (*self._schema.columns, *((self._slice,) if self._slice else ()))
        return frozenset(name for name in named if self._rule(name).dtype == "text")

    def read(self, chunk: Chunk) -> tuple[Good, list[BadRow]]:
        """Its good rows, and its bad ones by number.

        Raises:
            TrainingRefused: a column is missing or holds times, or the transform fails.
        """
        rows = self._transformed(chunk)
        names = self._resolved(chunk.url, rows)
        targets = _tuple(self._schema.target)
        faults = Faults(len(rows))
        rules = {name: self._rule(name) for name in (*names, *targets, *self._ruled())}
        _refuse_times(chunk.url, rows, rules)
        arrays = {
            name: self._columns.read(rows[name], name, rule, faults) for name, rule in rules.items()
        }
        held = chunk.held([at for at, _, _ in faults.told])
        bad = [
            BadRow(chunk.url, int(chunk.numbers[at]), column, reason, values)
            for (at, column, reason), values in zip(faults.told, held, strict=True)
        ]
        bad = sorted((*chunk.bad, *bad), key=attrgetter("row"))
        return self._good(arrays, names, faults, chunk.numbers), bad

    def _rule(self, name: str) -> Column:
        """The schema's, and with it what the task and the model's input want."""
        is_text = name == self._slice and not self._is_learnt(name)
        rule = self._schema.columns.get(name, TEXT if is_text else ANY_NUMBER)
        if name in _tuple(self._schema.target):
            rule = _both(rule, TARGETS.get(self._task, ANY_NUMBER))
        if self._schema.feature_dtype == "INT64" and name in (self._names or ()):
            rule = _both(rule, TOKEN)
        return rule

    def _is_learnt(self, name: str) -> bool:
        """As a feature or a target."""
        patterns = (*self._schema.features, *_tuple(self._schema.target))
        return any(fnmatchcase(name, pattern) for pattern in patterns)

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

    def _ruled(self) -> Iterable[str]:
        """Columns beside features and target whose values are looked at."""
        return (
            name for name in self._others() if name == self._slice or name in self._schema.columns
        )

    def _others(self) -> Iterable[str]:
        return (*self._schema.required_columns, *((self._slice,) if self._slice else ()))

    def _resolved(self, url: str, rows: pd.DataFrame) -> list[str]:
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

    def _good(
        self,
        arrays: dict[str, NDArray[Any]],
        names: list[str],
        faults: Faults,
        numbers: NDArray[np.int64],
    ) -> Good:
        is_good, targets = faults.is_good, _tuple(self._schema.target)
        features = _beside(arrays, names, is_good, DTYPES[self._schema.feature_dtype])
        kind = np.dtype(np.int64 if self._task in CLASSES else np.float32)
        target = _beside(arrays, targets, is_good, kind)
        if len(targets) == 1 and target.shape[1] == 1:
            target = target[:, 0]
        slices = None
        if self._slice is not None:
            slices = [_label(one) for one in arrays[self._slice][is_good].tolist()]
        return Good(features, target, slices, numbers[is_good], faults.nulls, faults.dropped)


def _refuse_times(url: str, rows: pd.DataFrame, rules: Mapping[str, Column]) -> None:
    for name, rule in rules.items():
        if rule.dtype != "text" and has_times(rows[name]):
            raise TrainingRefused(
                f"{url}: column {name!r} holds times, which are no numbers: a transform can make"
                " numbers of them"
            )


def _both(rule: Column, own: Column) -> Column:
    """What is good for either."""
    least = [one for one in (rule.minimum, own.minimum) if one is not None]
    largest = [one for one in (rule.maximum, own.maximum) if one is not None]
    return replace(
        rule,
        dtype=own.dtype if rule.dtype == "number" else rule.dtype,
        minimum=max(least, default=None),
        maximum=min(largest, default=None),
    )


def _beside(
    arrays: Mapping[str, NDArray[Any]],
    names: Sequence[str],
    is_good: NDArray[np.bool_],
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Columns, and lists, as one row each."""
    chosen = slice(None) if is_good.all() else is_good
    columns = [arrays[name][chosen].reshape(-1, *arrays[name].shape[1:] or (1,)) for name in names]
    return np.concatenate(columns, axis=1, dtype=dtype, casting="unsafe")


def _label(value: Any) -> str:
    return numeral(value) if isinstance(value, float) else str(value)


def _tuple(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names
