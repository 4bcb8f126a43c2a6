"""A block of rows in ClickHouse's Native format: one INSERT's whole content, column by column.

Columns are made chunk by chunk and joined once, so a row costs no object of its own. A column has
one stream of bytes, or two where it may be NULL: which rows are, then the values. A column of few
different texts goes as a dictionary and numbers (LowCardinality), one dictionary a block: the engine
then looks up each text once, not once a row. Dates go as what they are inside.
Format: ClickHouse's documentation, "Native"; `tests/stores/test_native_block.py` reads it back.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from chimera.schemas.columns import Numbers, Texts
from chimera.schemas.headers import unsigned_varint

_NUMPY = {
    "UInt8": "<u1",
    "UInt16": "<u2",
    "UInt32": "<u4",
    "UInt64": "<u8",
    "Int32": "<i4",
    "Int64": "<i8",
    "DateTime64(3, 'UTC')": "<i8",
}
_DTYPES = {kind: np.dtype(name) for kind, name in _NUMPY.items()}
_LIMITS = {
    kind: (np.int64(np.iinfo(dtype).min), np.int64(np.iinfo(dtype).max))
    for kind, dtype in _DTYPES.items()
    if dtype.itemsize < 8
}
_DICTIONARY = struct.Struct("<QQQ")  # version, flags and width of the numbers, texts
_VERSION, _OWN_KEYS = 1, 0x600  # the dictionary stands here, and it is this block's alone
_WIDTHS = ((1 << 8, 0, "<u1"), (1 << 16, 1, "<u2"), (1 << 32, 2, "<u4"))
_SHORT = 4_096  # bytes of most texts
_SIZES = tuple(map(unsigned_varint, range(_SHORT)))


class Choice(NamedTuple):
    """Of each row one of a few texts, by its number."""

    values: Sequence[str]
    places: Numbers


Streams = tuple[bytes, ...]
Column = Streams | Choice


class Chunk(NamedTuple):
    """Some rows; columns in their table's order."""

    rows: int
    columns: Sequence[Column]


def numbers(kind: str, values: Numbers) -> Streams:
    """Those that pass the type's range become its nearest."""
    dtype = _DTYPES[kind]
    count = len(values)
    if values.strides == (0,) and count > 1:
        (one,) = numbers(kind, values[:1].copy())
        return (one * count,)
    if kind in _LIMITS:
        values = values.clip(*_LIMITS[kind])
    return (values.astype(dtype).tobytes(),)


def nullable(kind: str, values: Numbers, null: int) -> Streams:
    """NULL where a value is `null`."""
    if values.strides == (0,) and len(values) > 1:
        flag, one = nullable(kind, values[:1].copy(), null)
        return flag * len(values), one * len(values)
    is_null = values == null
    (found,) = numbers(kind, np.where(is_null, 0, values))
    return is_null.astype("<u1").tobytes(), found


def same(value: str, rows: int) -> Streams:
    """The same text in all rows."""
    return (text(value.encode()) * rows,)


def texts(values: Sequence[bytes]) -> Streams:
    """Bytes as they are; ClickHouse's String need not be UTF-8."""
    if isinstance(values, Texts):
        lengths = values.lengths
        if not values.joined:
            return (bytes(len(values)),)
        if int(lengths.max()) < 0x80:
            return (_interleaved(lengths, values.joined),)
    return (b"".join(map(text, values)),)


def chosen(values: Sequence[str], index: Numbers) -> Choice:
    """For each row one of a few texts, by its index."""
    return Choice(values, index)


def block(columns: Sequence[tuple[str, str]], chunks: Sequence[Chunk]) -> bytes:
    """One block of all chunks; `columns` are names and types, in the chunks' order."""
    parts = [unsigned_varint(len(columns)), unsigned_varint(sum(chunk.rows for chunk in chunks))]
    for at, (name, kind) in enumerate(columns):
        parts += [text(name.encode()), text(kind.encode())]
        column = [chunk.columns[at] for chunk in chunks]
        choices = [one for one in column if isinstance(one, Choice)]
        if choices:
            parts += _dictionary(choices)
            continue
        for streams in zip(*column, strict=True):
            parts += streams
    return b"".join(parts)


def _dictionary(choices: Iterable[Choice]) -> list[bytes]:
    """Each text once, then the rows' numbers in it."""
    known: dict[str, int] = {}
    pieces: list[Numbers] = []
    for values, places in choices:
        here = [known.setdefault(value, len(known)) for value in values]
        if len(here) == 1:
            pieces.append(np.broadcast_to(np.int64(here[0]), len(places)))
        else:
            pieces.append(np.array(here, np.int64)[places])
    width, dtype = next((code, name) for limit, code, name in _WIDTHS if len(known) <= limit)
    rows = sum(map(len, pieces))
    keys = b"".join(text(value.encode()) for value in known)
    numbered = np.concatenate([piece.astype(dtype) for piece in pieces]).tobytes()
    head = _DICTIONARY.pack(_VERSION, _OWN_KEYS | width, len(known))
    return [head, keys, rows.to_bytes(8, "little"), numbered]


def _interleaved(lengths: Numbers, joined: bytes) -> bytes:
    """Each text behind its length, which takes a byte."""
    out = np.empty(len(joined) + len(lengths), np.uint8)
    starts = np.cumsum(lengths + 1) - lengths - 1
    is_text = np.ones(len(out), np.bool_)
    is_text[starts] = False
    out[starts] = lengths
    out[is_text] = np.frombuffer(joined, np.uint8)
    return out.tobytes()


def text(value: bytes) -> bytes:
    """One value of a column of texts."""
    size = len(value)
    return (_SIZES[size] if size < _SHORT else unsigned_varint(size)) + value
