"""Rows of one file, so many at a time: those that could be read, and lines that hold none.

A row's number counts from 1, without a header and without blank lines; a line that cannot be read has
one, too. `tests/workers/training/test_chunks.py` reads what is damaged.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false
# (values are anything)

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Opened = Callable[[], AbstractContextManager[BinaryIO]]  # the file from its beginning, each time


class BadRow(NamedTuple):
    """What cannot be learnt from."""

    url: str
    row: int
    column: str  # empty: the line is none of the table's
    reason: str
    values: Any  # by column; of a line of CSV its fields, of one of JSON its text

    def __str__(self) -> str:
        where = f", column {self.column}" if self.column else ""
        return f"{self.url}, row {self.row}{where}: {self.reason}"


class Chunk(NamedTuple):
    """Rows that follow one another, but for the bad ones between them."""

    url: str
    numbers: NDArray[np.int64]  # of the rows in their file
    rows: pd.DataFrame
    bad: tuple[BadRow, ...] = ()

    @classmethod
    def after(cls, url: str, done: int, rows: pd.DataFrame) -> "Chunk":
        """All rows that follow the first `done` ones."""
        return cls(url, np.arange(done + 1, done + 1 + len(rows)), rows)

    @property
    def last(self) -> int:
        """The number of its last row, good or bad."""
        return max([*self.numbers[-1:].tolist(), *(one.row for one in self.bad)], default=0)

    def held(self, chosen: list[int]) -> list[dict[str, Any]]:
        """All that the file has of these rows, which are named by their place."""
        records: list[dict[Any, Any]] = self.rows.iloc[chosen].to_dict("records") if chosen else []
        return [{str(name): _plain(one) for name, one in record.items()} for record in records]


def _plain(value: Any) -> Any:
    """As JSON says it; what that cannot say is text."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int) else str(value)
