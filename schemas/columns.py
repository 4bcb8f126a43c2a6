"""Columns of numbers and of texts as bytes: what the rows of a journal are made of.

    numbers   the smallest, then of each what is above it, in as few bytes as the largest needs;
              none at all where all are equal
    texts     their lengths as such a column, then all of them joined

Little-endian. A column knows neither its name nor its count: both are its reader's to know.
`tests/schemas/test_columns.py` takes columns there and back, and fuzzes them.
"""

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import overload

import numpy as np
from numpy.typing import NDArray

from chimera.schemas.errors import Malformed

Numbers = NDArray[np.int64]

_HEAD = struct.Struct("<qB")  # the smallest, and the bytes that each takes above it
_WIDTHS = {width: np.dtype(f"<u{width}") for width in (1, 2, 4, 8)}


def numbers(values: Sequence[int]) -> Numbers:
    """Python's integers as a column."""
    if isinstance(values, range):  # numpy would go through it number by number
        return np.arange(values.start, values.stop, values.step, dtype=np.int64)
    return np.array(values, np.int64)


@lru_cache(256)
def constant(value: int, count: int) -> Numbers:
    """The same number `count` times, in the memory of one; read-only."""
    return np.broadcast_to(np.int64(value), count)


def pack_constant(value: int) -> bytes:
    """A column of equal numbers, however many."""
    return _HEAD.pack(value, 0)


def pack_numbers(values: Numbers) -> bytes:
    """At least one number."""
    if values.strides == (0,):
        return pack_constant(int(values[0]))
    low, high = int(values.min()), int(values.max())
    if low == high:
        return pack_constant(low)
    width = next(width for width in _WIDTHS if high - low < 1 << 8 * width)
    if width == 8:  # the difference may pass 63 bits: it wraps, and comes back by wrapping
        above = values.view(np.uint64) - np.uint64(low % 2**64)
    else:
        above = (values - low).astype(_WIDTHS[width])
    return _HEAD.pack(low, width) + above.tobytes()


def pack_texts(texts: Sequence[bytes], limit_bytes: int) -> bytes:
    """None at all stand for empty ones; longer ones are cut."""
    if not texts:
        return pack_constant(0)
    lengths = numbers(list(map(len, texts)))
    if int(lengths.max()) > limit_bytes:
        return pack_texts([text[:limit_bytes] for text in texts], limit_bytes)
    return pack_numbers(lengths) + b"".join(texts)


class Texts(Sequence[bytes]):
    """A column of texts as it was packed; they become objects only where somebody looks at one."""

    def __init__(self, lengths: Numbers, joined: bytes) -> None:
        self.lengths = lengths
        self.joined = joined
        self._all: list[bytes] | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, at: int) -> bytes: ...

    @overload
    def __getitem__(self, at: slice) -> list[bytes]: ...

    def __getitem__(self, at: int | slice) -> bytes | list[bytes]:
        return self._each[at]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._each)

    def __eq__(self, other: object) -> bool:
        return self._each == (other._each if isinstance(other, Texts) else other)

    __hash__ = None  # type: ignore[assignment]  # as of a list

    @property
    def _each(self) -> list[bytes]:
        if self._all is None:
            ends = np.cumsum(self.lengths)
            starts: list[int] = (ends - self.lengths).tolist()
            stops: list[int] = ends.tolist()
            joined = self.joined
            self._all = [joined[start:stop] for start, stop in zip(starts, stops, strict=True)]
        return self._all


def join_numbers(columns: Sequence[Numbers]) -> Numbers:
    """One behind the other; equal constants stay one."""
    first, count = int(columns[0][0]), sum(map(len, columns))
    if all(column.strides == (0,) and int(column[0]) == first for column in columns):
        return constant(first, count)
    return np.concatenate(columns)


def join_texts(columns: Sequence[Sequence[bytes]], counts: Sequence[int]) -> Sequence[bytes]:
    """One behind the other; a column without texts stands for so many empty ones."""
    if not any(columns):
        return ()
    if all(isinstance(column, Texts) for column in columns):
        found = [column for column in columns if isinstance(column, Texts)]
        lengths = join_numbers([column.lengths for column in found])
        return Texts(lengths, b"".join(column.joined for column in found))
    each = zip(columns, counts, strict=True)
    return [text for column, count in each for text in column or [b""] * count]


class Columns:
    """Reads columns one after the other; each must have been packed with `count` values."""

    def __init__(self, raw: bytes, count: int) -> None:
        self._raw = raw
        self._count = count
        self._at = 0

    def numbers(self) -> Numbers:
        """Read-only. Raises Malformed: cut off, or of a width that there is not."""
        low, width = _HEAD.unpack(self.take(_HEAD.size))
        if not width:
            return constant(low, self._count)
        if width not in _WIDTHS:
            raise Malformed(f"a column of numbers with {width} bytes each")
        above = np.frombuffer(self.take(width * self._count), _WIDTHS[width]).astype(np.uint64)
        return (above + np.uint64(low % 2**64)).view(np.int64)

    def texts(self) -> "Texts":
        """Raises Malformed: cut off, or a length below 0."""
        lengths = self.numbers()
        if int(lengths.min()) < 0 or int(lengths.max()) > len(self._raw):
            raise Malformed("a text whose length is none")
        return Texts(lengths, self.take(int(lengths.sum())))

    def take(self, size: int) -> bytes:
        """Bytes as they are. Raises Malformed: there are fewer."""
        found = self._raw[self._at : self._at + size]
        if len(found) != size:
            raise Malformed(f"{size} bytes at {self._at} of {len(self._raw)}")
        self._at += size
        return found

    def end(self) -> None:
        """Raises Malformed: something is left."""
        if self._at != len(self._raw):
            raise Malformed(f"{len(self._raw) - self._at} bytes after the last column")
