"""Tensors of the Open Inference Protocol: datatypes, shapes, and their raw binary form.

A tensor is a stretch of a flat array that it may share with its neighbours: requests decoded
together lie in one piece, and `stack` hands them to a model without a copy. Raw bytes follow
Triton's binary extension: little-endian, row-major, no padding; BOOL is a byte of 0 or 1, an
element of BYTES a 32-bit length and its bytes. numpy has no BF16: it is held as float32, which is
exact. `tests/schemas/test_tensors.py` takes every datatype there and back.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from chimera.schemas.errors import Malformed, SchemaInvalid

MAX_RANK = 32
MAX_DIMENSION = 2**31 - 1
MAX_ELEMENTS = 2**40  # far above any request's bytes: only keeps the arithmetic small
MAX_EMPTY_ROWS = 2**20  # an empty tensor's other dimensions cost no bytes, but a model's output may

Array = NDArray[Any]
Kind = Literal["bool", "int", "uint", "float", "bytes"]
Name = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BF16", "BYTES",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype of the protocol: `dtype` in memory, `size` bytes an element on the wire."""

    name: Name
    kind: Kind
    dtype: np.dtype[Any]
    size: int  # 0: varies (BYTES)


DATATYPES: dict[str, Datatype] = {
    datatype.name: datatype
    for datatype in (
        Datatype("BOOL", "bool", np.dtype("?"), 1),
        Datatype("UINT8", "uint", np.dtype("<u1"), 1),
        Datatype("UINT16", "uint", np.dtype("<u2"), 2),
        Datatype("UINT32", "uint", np.dtype("<u4"), 4),
        Datatype("UINT64", "uint", np.dtype("<u8"), 8),
        Datatype("INT8", "int", np.dtype("<i1"), 1),
        Datatype("INT16", "int", np.dtype("<i2"), 2),
        Datatype("INT32", "int", np.dtype("<i4"), 4),
        Datatype("INT64", "int", np.dtype("<i8"), 8),
        Datatype("FP16", "float", np.dtype("<f2"), 2),
        Datatype("FP32", "float", np.dtype("<f4"), 4),
        Datatype("FP64", "float", np.dtype("<f8"), 8),
        Datatype("BF16", "float", np.dtype("<f4"), 2),
        Datatype("BYTES", "bytes", np.dtype("O"), 0),
    )
}


@dataclass(frozen=True, slots=True)
class Layout:
    """A datatype and a shape that were checked: what a tensor's data must fit."""

    datatype: Datatype
    shape: tuple[int, ...]
    count: int  # elements

    @property
    def size_bytes(self) -> int:
        """Of the raw form; 0 for BYTES, whose elements vary."""
        return self.count * self.datatype.size


@lru_cache(maxsize=4096)
def layout(datatype: str, shape: tuple[int, ...]) -> Layout:
    """Check a shape; costs nothing however large its product is.

    Raises:
        SchemaInvalid: an unknown datatype, a dimension or a product out of range.
    """
    known = DATATYPES.get(datatype)
    if known is None:
        raise SchemaInvalid(f"unknown datatype {quoted(datatype)}")
    if len(shape) > MAX_RANK:
        raise SchemaInvalid(f"shape of rank {len(shape)}, at most {MAX_RANK} dimensions are taken")
    count, others = 1, 1
    for size in shape:
        if not 0 <= size <= MAX_DIMENSION:
            raise SchemaInvalid(f"shape {shown(shape)}: a dimension is out of range")
        count *= size
        others *= size or 1
        if others > MAX_ELEMENTS:
            raise SchemaInvalid(f"shape {shown(shape)} has too many elements")
    if not count and others > MAX_EMPTY_ROWS:
        raise SchemaInvalid(f"shape {shown(shape)} is empty and too large beside")
    return Layout(known, shape, count)


class Tensor(msgspec.Struct, frozen=True, gc=False):
    """Elements `start` to `stop` of `flat`, a one-dimensional array, read as `shape`.

    `flat` has the numpy type of `DATATYPES[datatype].dtype`; BYTES are `bytes` objects.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    flat: Array
    start: int
    stop: int

    @property
    def array(self) -> Array:
        """The tensor in its shape: a view, no copy."""
        return self.flat[self.start : self.stop].reshape(self.shape)


def stack(tensors: Sequence[Tensor]) -> Array:
    """Join tensors of one datatype and equal trailing dimensions along the first one.

    No copy where they lie side by side in one flat array, as requests decoded together do.

    Raises:
        ValueError: their shapes do not go together, or have no first dimension.
    """
    first = tensors[0]
    flat, stop, tail, rows = first.flat, first.start, first.shape[1:], 0
    for tensor in tensors:
        if tensor.flat is not flat or tensor.start != stop or tensor.shape[1:] != tail:
            return np.concatenate([tensor.array for tensor in tensors])
        stop = tensor.stop
        rows += tensor.shape[0] if tensor.shape else 1
    return flat[first.start : stop].reshape((rows, *tail))


def read_binary(layout: Layout, raw: bytes | memoryview) -> Array:
    """A tensor's raw bytes as a flat array, in the type of `Datatype.dtype`; may share `raw`.

    Raises:
        SchemaInvalid: the shape needs another number of bytes, or a BOOL is neither 0 nor 1.
        Malformed: the lengths inside BYTES do not fit.
    """
    if layout.datatype.kind == "bytes":
        return _read_bytes(layout, raw)
    if len(raw) != layout.size_bytes:
        raise SchemaInvalid(
            f"shape {shown(layout.shape)} of {layout.datatype.name} needs"
            f" {layout.size_bytes} bytes, there are {len(raw)}"
        )
    return from_raw(layout.datatype, raw)


def from_raw(datatype: Datatype, raw: bytes | memoryview) -> Array:
    """Raw elements of any datatype but BYTES as a flat array.

    Raises:
        SchemaInvalid: a BOOL is neither 0 nor 1.
    """
    if datatype.name == "BF16":
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    if datatype.kind == "bool":
        found = np.frombuffer(raw, np.uint8)
        if found.size and found.max() > 1:
            raise SchemaInvalid("a BOOL is neither 0 nor 1")
        return found.view(np.bool_)
    return np.frombuffer(raw, datatype.dtype)


def to_raw(datatype: Datatype, array: Array) -> bytes:
    """The raw form of an array, the inverse of `read_binary`; BF16 is rounded to nearest even."""
    if datatype.kind == "bytes":
        return b"".join(part for element in array.flat for part in _prefixed(as_bytes(element)))
    if datatype.name == "BF16":
        bits = np.ascontiguousarray(array, "<f4").view("<u4")
        rounded = (bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16
        quiet = (bits >> 16) | 0x40
        return np.where(np.isnan(array), quiet, rounded).astype("<u2").tobytes()
    return np.ascontiguousarray(array, datatype.dtype).tobytes()


def as_bytes(element: object) -> bytes:
    """An element of a BYTES tensor: bytes as they are, text as UTF-8."""
    return element if isinstance(element, bytes) else str(element).encode()


def objects(elements: Sequence[bytes]) -> Array:
    """A flat BYTES array; numpy would cut trailing zero bytes off any other."""
    flat = np.empty(len(elements), object)
    flat[:] = elements
    return flat


def quoted(text: str) -> str:
    """A caller's text, short enough for an error message."""
    return repr(text if len(text) <= 64 else text[:61] + "...")


def shown(shape: tuple[int, ...]) -> str:
    """A caller's shape, short enough for an error message."""
    text = ",".join(str(size) if -(2**63) <= size < 2**64 else "..." for size in shape[:8])
    return f"[{text}]" if len(shape) <= 8 else f"[{text},...]"


def _prefixed(element: bytes) -> tuple[bytes, bytes]:
    return struct.pack("<I", len(element)), element


def _read_bytes(layout: Layout, raw: bytes | memoryview) -> Array:
    if layout.count * 4 > len(raw):
        raise SchemaInvalid(
            f"shape {shown(layout.shape)} of BYTES needs at least {layout.count * 4} bytes,"
            f" there are {len(raw)}"
        )
    elements: list[bytes] = []
    position, end = 0, len(raw)
    while position < end:
        start = position + 4
        position = start + int.from_bytes(raw[position:start], "little")
        if position > end:
            raise Malformed("an element of BYTES runs past the end")
        elements.append(bytes(raw[start:position]))
    if len(elements) != layout.count:
        raise SchemaInvalid(
            f"shape {shown(layout.shape)} needs {layout.count} elements, there are {len(elements)}"
        )
    return objects(elements)
