"""Tensor data in JSON: one tensor at a time exactly, or a batch's numbers in one pass.

`read_json` decides what is valid; it makes a Python object of every element. `NumberReader` reads
the numbers of many tensors with simdjson into one array without any: 1.1 us instead of 1.8 us for
64 numbers (msgspec to a list, then numpy). It only ever accepts what `read_json` accepts, with the
same bits, and names the tensors that it could not take. Numbers become doubles, then the datatype;
nothing is out of range silently. `tests/schemas/test_json_numbers.py` holds the two together.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import simdjson

from chimera.schemas.errors import Malformed, SchemaInvalid
from chimera.schemas.tensors import Array, Datatype, Layout, objects, shown

CHUNK_BYTES = 98_304  # of one pass: larger ones cost fresh pages from the system, 1.9 us not 1.1
MAX_OUTLINE = 4_096  # elements of a nested tensor that is checked by its outline

_ELEMENT: dict[str, type[Any]] = {
    "bool": bool,
    "int": int,
    "uint": int,
    "float": float,
    "bytes": str,
}
_BUFFER: dict[str, tuple[str, str]] = {
    "int": ("i", "<i8"),
    "uint": ("u", "<u8"),
    "float": ("d", "<f8"),
}
_NESTED = re.compile(rb"\s*\[\s*\[")
_NOT_OUTLINE = b"0123456789.eE+- \t\r\n"
_REFUSALS = (ValueError, TypeError, RuntimeError)  # simdjson's: malformed, another type, too deep


def read_json(layout: Layout, data: bytes) -> Array:
    """`data` of one tensor, flat or nested as its shape says, as a flat array.

    Raises:
        Malformed: it is not JSON.
        SchemaInvalid: another type, number of elements or nesting, or a value out of range.
    """
    if layout.datatype.name == "BF16":
        raise SchemaInvalid("BF16 has no JSON form, send it as binary data")
    depth = len(layout.shape) if _NESTED.match(data) else 1
    elements = _decode(layout.datatype, depth, data)
    try:
        found = _array(layout.datatype, elements)
    except OverflowError:
        raise SchemaInvalid(f"a number in data is out of {layout.datatype.name}'s range") from None
    except ValueError:
        raise SchemaInvalid("nested data is ragged") from None
    wanted = layout.shape if depth > 1 else (layout.count,)
    if found.shape != wanted and (found.size or layout.count):
        raise SchemaInvalid(
            f"shape {shown(layout.shape)} needs {layout.count} elements,"
            f" data has the shape {shown(found.shape)}"
        )
    flat = found.reshape(-1)
    if layout.datatype.kind == "bytes":
        return objects([text.encode() for text in flat])
    return flat


def is_flat(data: bytes) -> bool:
    """Whether valid JSON is an array without another one inside (or only in a string)."""
    return data.startswith(b"[") and data.find(b"[", 1) < 0


def is_nested(layout: Layout, data: bytes) -> bool:
    """Whether data's brackets and commas are exactly those of the shape, and no text is between."""
    if not 1 < len(layout.shape) or not 0 < layout.count <= MAX_OUTLINE:
        return False
    return data.translate(None, _NOT_OUTLINE) == _outline(layout.shape)


class NumberReader:
    """Reads the numbers of many tensors at once; belongs to one thread."""

    def __init__(self) -> None:
        self._parser = simdjson.Parser()

    def read(
        self, layout: Layout, nested: bool, data: Sequence[bytes]
    ) -> tuple[Array, Sequence[int]]:
        """Tensors of one layout: arrays with no array inside, or each `is_nested`.

        Returns:
            A flat array of `len(data) * layout.count` elements, and the indexes that it could not
            read: `read_json` has the answer for those, and their stretch holds nothing.
        """
        count = layout.count
        children = layout.shape[0] if nested else count
        flat = np.empty(len(data) * count, layout.datatype.dtype)
        refused: list[int] = []
        for chunk in _chunks(data):
            pending = [chunk]
            while pending:
                start, stop = pending.pop()
                into = flat[start * count : stop * count].reshape(stop - start, count)
                bad = self._fill(layout.datatype, children, data[start:stop], into)
                if bad is not None:
                    refused += [start + at for at in bad]
                elif stop - start == 1:
                    refused.append(start)
                else:
                    middle = (start + stop) // 2
                    pending += ((start, middle), (middle, stop))
        return flat, refused

    def _fill(
        self, datatype: Datatype, children: int, data: Sequence[bytes], into: Array
    ) -> Iterable[int] | None:
        """Read `data` into the rows of `into`; returns the bad ones, or None: nothing was read."""
        code, dtype = _BUFFER[datatype.kind]
        try:
            document: Any = self._parser.parse(_joined(data))
            lengths = list(map(len, document))
        except _REFUSALS:
            return None
        if len(lengths) != len(data):
            return None
        bad: set[int] = set()
        buffer = _buffer(document, code, into.size)
        if buffer is None or lengths != [children] * len(data):
            rows = [_buffer(tensor, code, into.shape[1]) for tensor in document]
            hole = bytes(8 * into.shape[1])
            for at, row in enumerate(rows):
                if row is None or lengths[at] != children:
                    bad.add(at)
            buffer = b"".join(row or hole for row in rows)
        bad.update(_narrow(datatype, np.frombuffer(buffer, dtype).reshape(into.shape), into))
        return bad


def _joined(data: Sequence[bytes]) -> bytes:
    """An array of them, copied once."""
    if len(data) == 1:
        return b"[%s]" % data[0]
    return b",".join([b"[" + data[0], *data[1:-1], data[-1] + b"]"])


def _buffer(array: Any, code: str, count: int) -> bytes | None:
    """All numbers inside a parsed array, 64 bits each; None: it is none of `count` numbers."""
    try:
        buffer: bytes = array.as_buffer(of_type=code)
    except (*_REFUSALS, AttributeError):
        return None
    return buffer if memoryview(buffer).nbytes == 8 * count else None


def _chunks(data: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Stretches of about CHUNK_BYTES."""
    start = size = 0
    for stop, one in enumerate(data):
        if size > CHUNK_BYTES:
            yield start, stop
            start, size = stop, 0
        size += len(one)
    if start < len(data):
        yield start, len(data)


def _narrow(datatype: Datatype, numbers: Array, into: Array) -> Iterable[int]:
    """Copy rows of 64-bit numbers into the datatype; returns the rows with one out of its range."""
    if datatype.kind == "float":
        with np.errstate(over="ignore"):
            into[:] = numbers
        good = np.isfinite(into)
    elif datatype.size < 8:
        into[:] = numbers
        good = into == numbers
    else:
        into[:] = numbers
        return ()
    return () if good.all() else np.flatnonzero(~good.all(axis=1)).tolist()


def _array(datatype: Datatype, elements: list[Any]) -> Array:
    if datatype.kind != "float":
        return np.array(elements, datatype.dtype)
    doubles = np.array(elements, "<f8")
    found = np.empty(doubles.shape, datatype.dtype)
    if _narrow(datatype, doubles.reshape(1, -1), found.reshape(1, -1)):
        raise OverflowError
    return found


def _decode(datatype: Datatype, depth: int, data: bytes) -> list[Any]:
    try:
        elements: list[Any] = _decoder(datatype.kind, depth).decode(data)
        return elements
    except msgspec.ValidationError as error:
        raise SchemaInvalid(f"data: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"data: {error}") from None


@lru_cache(maxsize=256)
def _decoder(kind: str, depth: int) -> msgspec.json.Decoder[Any]:
    wanted: Any = _ELEMENT[kind]
    for _ in range(depth):
        wanted = list[wanted]
    return msgspec.json.Decoder(wanted)


@lru_cache(maxsize=256)
def _outline(shape: tuple[int, ...]) -> bytes:
    outline = b""
    for size in reversed(shape):
        outline = b"[" + b",".join([outline] * size) + b"]"
    return outline
