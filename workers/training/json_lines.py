"""JSON lines in chunks: all of a chunk at once, or line by line where one is no object.

Values keep the types that they have there: nothing is taken for a date. NaN and Infinity, which are no
JSON but which Python writes, are read as what they are meant to be.
`tests/workers/training/test_chunks.py`.
"""

import json
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from chimera.workers.training.chunks import BadRow, Chunk, Opened

Record = dict[str, Any]

_DECODER = msgspec.json.Decoder(Record)


def read(url: str, opened: Opened, chunk_rows: int, text: Collection[str]) -> Iterator[Chunk]:
    """`text` names columns that stay as they are written. Raises OSError: it is damaged."""
    done = 0
    with opened() as file:
        lines = (line for line in file if line.strip())
        while found := list(islice(lines, chunk_rows)):
            yield _chunk(url, found, done, text)
            done += len(found)


def _chunk(url: str, lines: list[bytes], done: int, text: Collection[str]) -> Chunk:
    try:
        records = _DECODER.decode_lines(b"".join(lines))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        records = []
    if len(records) == len(lines):
        return Chunk.after(url, done, _frame(records, text))
    good: list[Record] = []
    numbers: list[int] = []
    bad: list[BadRow] = []
    for number, line in enumerate(lines, done + 1):
        found = _record(line)
        if isinstance(found, str):
            written = line.decode(errors="replace").rstrip("\r\n")
            bad.append(BadRow(url, number, "", found, written))
        else:
            good.append(found)
            numbers.append(number)
    return Chunk(url, np.array(numbers, np.int64), _frame(good, text), tuple(bad))


def _record(line: bytes) -> Record | str:
    """A line's object, or why it is none."""
    try:
        found = json.loads(line.strip())
    except json.JSONDecodeError as error:
        return f"no JSON: {error.msg}, at character {error.pos + 1}"
    except (UnicodeDecodeError, RecursionError) as error:
        return f"no JSON: {error}"
    return found if isinstance(found, dict) else f"a JSON {type(found).__name__}, no object"  # pyright: ignore[reportUnknownVariableType]  # of anything


def _frame(records: list[Record], text: Collection[str]) -> pd.DataFrame:
    rows = pd.DataFrame(records)
    for name in text:
        if name in rows.columns:
            rows[name] = pd.Series([one.get(name) for one in records], dtype=object)
    return rows
