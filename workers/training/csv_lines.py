"""CSV in chunks: by pandas as long as it can, then record by record.

pandas' quick parser ends at a line with more fields than the header, and takes the first column for an
index where the first line has such; so that line is looked at before, and from the chunk on in which a
line does not fit, Python's parser says which ones do. Both read quotes alike; fields that are missing
at a line's end are no values. `tests/workers/training/test_chunks.py`.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (pandas' readers are typed in part)

import csv
import io
from collections.abc import Collection, Generator, Iterator
from itertools import chain, islice
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from pandas.errors import ParserError

from chimera.workers.training.chunks import BadRow, Chunk, Opened

END = "\x00end\x00"  # a record of its own, unless a quote is open


def read(url: str, opened: Opened, chunk_rows: int, text: Collection[str]) -> Iterator[Chunk]:
    """`text` names columns that stay as they are written.

    Raises:
        ValueError, OSError: it is no CSV, is damaged, or ends within quotes.
    """
    done = 0 if _starts_wide(opened) else (yield from _quickly(url, opened, chunk_rows, text))
    if done is not None:
        yield from _carefully(url, opened, chunk_rows, text, done)


def _quickly(
    url: str, opened: Opened, chunk_rows: int, text: Collection[str]
) -> Generator[Chunk, None, int | None]:
    """Returns after how many rows a chunk has a line that does not fit; None: there is none."""
    kinds: Any = dict.fromkeys(text, str)
    done = 0
    with (
        opened() as file,
        pd.read_csv(file, chunksize=chunk_rows, low_memory=False, dtype=kinds) as reader,
    ):
        while True:
            try:
                rows = next(reader, None)
            except ParserError:
                return done
            if rows is None:
                return None
            yield Chunk.after(url, done, rows)
            done += len(rows)


def _starts_wide(opened: Opened) -> bool:
    """Whether the first row has more fields than the header."""
    with opened() as file:
        try:
            first_two = list(islice(_records(file), 2))
        except csv.Error:
            return False
    return len(first_two) == 2 and len(first_two[1]) > len(first_two[0])


def _carefully(
    url: str, opened: Opened, chunk_rows: int, text: Collection[str], done: int
) -> Iterator[Chunk]:
    """The same from row `done + 1` on."""
    good: list[list[str]] = []
    numbers: list[int] = []
    bad: list[BadRow] = []
    with opened() as file:
        records = _records(file)
        header = next(records)
        for number, record in enumerate(records, 1):
            if number <= done:
                continue
            if len(record) > len(header):
                reason = f"{len(record)} fields, the header has {len(header)}"
                bad.append(BadRow(url, number, "", reason, record))
            else:
                good.append(record)
                numbers.append(number)
            if len(good) + len(bad) == chunk_rows:
                yield Chunk(url, np.array(numbers, np.int64), _frame(header, good, text), (*bad,))
                good, numbers, bad = [], [], []
    if good or bad:
        yield Chunk(url, np.array(numbers, np.int64), _frame(header, good, text), (*bad,))


def _records(file: BinaryIO) -> Iterator[list[str]]:
    """The header, and all rows; blank lines are none, as for pandas."""
    lines = io.TextIOWrapper(file, "utf-8-sig", newline="")
    record: list[str] = []
    for record in csv.reader(chain(lines, (END,))):
        if len(record) > 1 or (record and record[0].strip() and record[0] != END):
            yield record
    if record != [END]:
        raise ValueError("it ends within quotes that were never closed")


def _frame(header: list[str], records: list[list[str]], text: Collection[str]) -> pd.DataFrame:
    """As pandas would have read these lines alone."""
    lines = io.StringIO(newline="")
    csv.writer(lines).writerows((header, *records))
    lines.seek(0)
    kinds: Any = dict.fromkeys(text, str)
    return pd.read_csv(lines, low_memory=False, dtype=kinds)
