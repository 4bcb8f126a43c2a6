"""A block of rows in ClickHouse's Native format: one INSERT's whole content, column by column.

Columns are made chunk by chunk and joined once, so a row costs no object of its own. A column has
one stream of bytes, or two where it may be NULL: which rows are, then the values. Texts go as String
and dates as what they are inside; the engine turns them into the table's types.
Format: ClickHouse's documentation, "Native"; `tests/stores/test_native_block.py` reads it back.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from chimera.schemas.columns import Numbers
from chimera.schemas.headers import unsigned_varint

Streams = tuple[bytes, ...]

_NUMPY = {
    "UInt8": "<u1",
    "UInt16": "<u2",
    "UInt32": "<u4",
    "UInt64": "<u8",
    "Int32": "<i4",
    "Int64": "<i8",
    "DateTime64(3, 'UTC')": "<i8",
}


class Chunk(NamedTuple):
    """Some rows; columns in their table's order."""

    rows: int
    columns: Sequence[Streams]


def numbers(kind: str, values: Numbers) -> Streams:
    """Those that pass the type's range become its nearest."""
    wanted = np.dtype(_NUMPY[kind])
    if wanted.itemsize < 8:
        limits = np.iinfo(wanted)
        values = values.clip(limits.min, limits.max)
    return (values.astype(wanted).tobytes(),)


def nullable(kind: str, values: Numbers, null: int) -> Streams:
    """NULL where a value is `null`."""
    is_null = values == null
    (found,) = numbers(kind, np.where(is_null, 0, values))
    return is_null.astype("<u1").tobytes(), found


def same(text: str, rows: int) -> Streams:
    """The same text in all rows."""
    return (_text(text.encode()) * rows,)


def texts(values: Iterable[bytes]) -> Streams:
    """Bytes as they are; ClickHouse's String need not be UTF-8."""
    return (b"".join(map(_text, values)),)


def chosen(values: Sequence[str], index: Numbers) -> Streams:
    """For each row one of a few texts, by its index."""
    if len(values) == 1:
        return same(values[0], len(index))
    known = [_text(value.encode()) for value in values]
    places: list[int] = index.tolist()
    return (b"".join([known[at] for at in places]),)


def block(columns: Sequence[tuple[str, str]], chunks: Sequence[Chunk]) -> bytes:
    """One block of all chunks; `columns` are names and types, in the chunks' order."""
    parts = [unsigned_varint(len(columns)), unsigned_varint(sum(chunk.rows for chunk in chunks))]
    for at, (name, kind) in enumerate(columns):
        parts += [_text(name.encode()), _text(kind.encode())]
        for streams in zip(*[chunk.columns[at] for chunk in chunks], strict=True):
            parts += streams
    return b"".join(parts)


def _text(value: bytes) -> bytes:
    return unsigned_varint(len(value)) + value
