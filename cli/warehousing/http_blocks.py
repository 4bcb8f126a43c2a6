"""ClickHouse's own frames of compressed data, which JDBC drivers ask for over HTTP (`compress=1`).

    16   checksum of all that follows: CityHash128, as it was in release 1.0.2
     1   method: 0x82 LZ4, 0x90 zstd, 0x02 none
     4   size of this header from the method on, and of the data behind it; little-endian
     4   size of what they become
         data

Its files of columns are made of the same frames: `tests/cli/test_http_blocks.py` reads one of those.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (cramjam and clickhouse-cityhash ship no types for what they return)

import struct
from collections.abc import Iterator

import cramjam
from clickhouse_cityhash.cityhash import (  # type: ignore[import-untyped]  # ships no type information
    CityHash128,
)

from chimera.cli.warehousing.http_bodies import MOST_BYTES

LZ4, ZSTD, NONE = 0x82, 0x90, 0x02
MAX_BYTES = 1 << 20  # of one frame, uncompressed: as ClickHouse writes it

_CHECKSUM = struct.Struct("<QQ")
_HEAD = struct.Struct("<BII")
_WORD = (1 << 64) - 1


class Frames:
    """An `Encoder` of answers, with LZ4."""

    def encode(self, part: bytes) -> bytes:
        view = memoryview(part)
        cuts = range(0, len(part), MAX_BYTES)
        return b"".join(_frame(bytes(view[at : at + MAX_BYTES])) for at in cuts)

    def finish(self) -> bytes:
        return b""


def decoded(body: bytes) -> bytes:
    """What all frames of a body become.

    Raises:
        ValueError: they are no frames, one of them is damaged, or they become too much.
    """
    found, size = list[bytes](), 0
    for part in _parts(body):
        found.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise ValueError(f"the body becomes more than {MOST_BYTES} bytes")
    return b"".join(found)


def _frame(part: bytes) -> bytes:
    data = bytes(cramjam.lz4.compress_block(part, store_size=False))
    framed = _HEAD.pack(LZ4, _HEAD.size + len(data), len(part)) + data
    return _checksum(framed) + framed


def _parts(body: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        start = at + _CHECKSUM.size
        if len(body) < start + _HEAD.size:
            raise ValueError("the body ends within a frame")
        method, size, becomes = _HEAD.unpack_from(body, start)
        if size < _HEAD.size or len(body) < start + size:
            raise ValueError("the body ends within a frame")
        framed = body[start : start + size]
        if _checksum(framed) != body[at:start]:
            raise ValueError("a frame's checksum is not that of its data")
        yield _undone(method, framed[_HEAD.size :], becomes)
        at = start + size


def _undone(method: int, data: bytes, becomes: int) -> bytes:
    if becomes > MOST_BYTES:
        raise ValueError(f"a frame becomes more than {MOST_BYTES} bytes")
    try:
        if method == LZ4:
            part = bytes(cramjam.lz4.decompress_block(data, output_len=becomes))
        elif method == ZSTD:
            room = bytearray(becomes)  # `decompress` would make more of it, however much is in it
            part = bytes(room[: cramjam.zstd.decompress_into(data, room)])
        elif method == NONE:
            part = data
        else:
            raise ValueError(f"a frame's method is {method:#x}; known are LZ4, zstd and none")
    except cramjam.DecompressionError as error:
        raise ValueError(f"a frame's data are damaged: {error}") from None
    if len(part) != becomes:
        raise ValueError("a frame's data are not of the size that it says")
    return part


def _checksum(framed: bytes) -> bytes:
    found: int = CityHash128(framed)
    return _CHECKSUM.pack(found >> 64 & _WORD, found & _WORD)
