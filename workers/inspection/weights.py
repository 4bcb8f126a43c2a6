"""The header of a safetensors file, read with less trust than the library's.

    8 bytes little-endian: length of the header | header, JSON | the tensors' bytes, without gaps

What passes here the library reads the same way: names once each, known datatypes, sizes that are
their shapes' own, and offsets that cover all bytes in order. Only the header is read.
Format: huggingface/safetensors, README "Format". `tests/workers/test_weights.py` compares with the
library on random files.
"""

import json
from dataclasses import dataclass
from typing import IO, Annotated, Never

import msgspec

from chimera.schemas.errors import ModelRefused
from chimera.schemas.tensors import MAX_RANK, quoted, shown

MAX_HEADER_BYTES = 16 << 20
MAX_NAME = 512  # characters
MAX_ELEMENTS = 2**40
METADATA = "__metadata__"
ITEM_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """What the header says of one tensor; `start` and `end` are offsets into the bytes after it."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: Annotated[tuple[int, ...], msgspec.Meta(max_length=MAX_RANK)]
    data_offsets: tuple[int, int]


def read_header(
    file: IO[bytes], size_bytes: int, path: str, max_tensors: int
) -> tuple[dict[str, Tensor], bytes]:
    """The tensors by name, and the bytes of the file that were read to know them.

    Raises:
        ModelRefused: it is no safetensors file, or its header lies.
    """
    file.seek(0)
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or length < 2:
        raise ModelRefused(f"{path}: is no safetensors file: no header")
    if length > size_bytes - 8:
        raise ModelRefused(
            f"{path}: is no safetensors file: a header of {length} bytes in {size_bytes} bytes"
        )
    if length > MAX_HEADER_BYTES:
        raise ModelRefused(f"{path}: a header of {length} bytes, at most {MAX_HEADER_BYTES}")
    header = file.read(length)
    if len(header) < length or not header.startswith(b"{"):
        raise ModelRefused(f"{path}: is no safetensors file: its header is no JSON object")
    tensors = _tensors(_parsed(header, path), path, max_tensors)
    _require_cover(tensors, size_bytes - 8 - length, path)
    return tensors, prefix + header


def _parsed(header: bytes, path: str) -> dict[str, object]:
    """The header's JSON; where Python reads more than JSON allows, it is refused."""

    def refuse(text: str) -> Never:
        raise ModelRefused(f"{path}: the header has the number {quoted(text)}")

    def unsigned(text: str) -> int:
        return refuse(text) if text.startswith("-") or len(text) > 19 else int(text)

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ModelRefused(f"{path}: the header names {quoted(_repeated(pairs))} twice")
        return found

    try:
        found: dict[str, object] = json.loads(
            header.decode(),
            object_pairs_hook=once,
            parse_int=unsigned,
            parse_float=refuse,
            parse_constant=refuse,
        )
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise ModelRefused(
            f"{path}: the header is no JSON: {quoted(str(error) or type(error).__name__)}"
        ) from None
    return found


def _repeated(pairs: list[tuple[str, object]]) -> str:
    names = [name for name, _ in pairs]
    return next(name for at, name in enumerate(names) if name in names[:at])


def _tensors(found: dict[str, object], path: str, max_tensors: int) -> dict[str, Tensor]:
    try:
        msgspec.convert(found.pop(METADATA, {}), dict[str, str])
    except msgspec.ValidationError:
        raise ModelRefused(f"{path}: {METADATA} should hold texts") from None
    if len(found) > max_tensors:
        raise ModelRefused(f"{path}: {len(found)} tensors, at most {max_tensors}")
    return {name: _tensor(name, entry, path) for name, entry in found.items()}


def _tensor(name: str, entry: object, path: str) -> Tensor:
    where = f"{path}: tensor {quoted(name)}"
    if not 0 < len(name) <= MAX_NAME:
        raise ModelRefused(f"{where}: a name of {len(name)} characters")
    try:
        said = msgspec.convert(entry, _Said)
    except msgspec.ValidationError as error:
        raise ModelRefused(f"{where}: {error}") from None
    if said.dtype not in ITEM_BYTES:
        raise ModelRefused(f"{where}: unknown dtype {quoted(said.dtype)}")
    start, end = said.data_offsets
    if start > end:
        raise ModelRefused(f"{where}: it ends before it begins")
    count = 1
    for size in said.shape:
        count *= size
        if count > MAX_ELEMENTS:
            raise ModelRefused(f"{where}: shape {shown(said.shape)} is too large")
    if count * ITEM_BYTES[said.dtype] != end - start:
        raise ModelRefused(
            f"{where}: {said.dtype} of shape {shown(said.shape)} needs"
            f" {count * ITEM_BYTES[said.dtype]} bytes, its offsets give {end - start}"
        )
    return Tensor(said.dtype, said.shape, start, end)


def _require_cover(tensors: dict[str, Tensor], data_bytes: int, path: str) -> None:
    """Every byte belongs to one tensor."""
    at = 0
    ordered = sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end))
    for name, tensor in ordered:
        if tensor.start != at:
            what = "overlaps the one before" if tensor.start < at else "leaves a gap before it"
            raise ModelRefused(f"{path}: tensor {quoted(name)} {what}")
        at = tensor.end
    if at != data_bytes:
        raise ModelRefused(f"{path}: the tensors end at {at}, there are {data_bytes} bytes")
