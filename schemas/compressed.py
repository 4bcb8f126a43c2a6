"""What a record batch's codec has made smaller, unpacked into no more bytes than its reader allows.

    gzip      zlib stops at the limit; members follow one another, as GzipFile reads them
    snappy    each block says what it becomes: looked at before any is unpacked
    lz4, zstd into a room of that size; small first, as most batches become little

Whoever sends a batch decides what it becomes: 30 KB of gzip are 30 MB, and of zstd a gigabyte. The
broker looks at the smaller size alone. Nor is what becomes nothing unpacked for ever: a megabyte holds
fifty thousand empty members of gzip. `tests/schemas/test_compressed.py` has a bomb of each.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# (cramjam's type information leaves out what its modules hold)

import zlib
from collections.abc import Callable

import cramjam
import numpy as np

Data = bytes | memoryview

FIRST_ROOM = 1 << 20
USUAL_RATIO = 32  # a batch that becomes more than both is unpacked twice
_FULL = "failed to write whole buffer"  # the words of Rust's `ErrorKind::WriteZero`
_GZIP = 31  # for zlib: a gzip header, and any window
_XERIAL = b"\x82SNAPPY\0"  # of Java's framing; other clients send one block without a frame
MOST_MEMBERS = 64  # of gzip, for which clients write one; each copies what is behind it
MOST_BLOCKS = 16_384  # of snappy, for which clients write one per 32 KiB
_XERIAL_BYTES = 16  # its versions included
_SIZE_BYTES = 4


class TooLong(Exception):
    """It becomes more than its reader allows, or is made of too many pieces."""


def unpack(codec: int, data: Data, most_bytes: int) -> Data:
    """`codec`: its number in a batch's attributes.

    Raises:
        TooLong: it would be more than `most_bytes`, or has more pieces than any client makes.
        ValueError, zlib.error, cramjam.DecompressionError: it is damaged, or no codec of Kafka's.
    """
    found = _CODECS.get(codec)
    if found is None:
        raise ValueError(f"no compression has the number {codec}")
    return found(data, most_bytes)


def _gzip(data: Data, most_bytes: int) -> bytes:
    parts: list[bytes] = []
    left = most_bytes
    while data:
        member = zlib.decompressobj(_GZIP)
        part = member.decompress(data, left + 1)  # 0 would mean: without a limit
        if len(part) > left:
            raise TooLong
        if not member.eof:
            raise ValueError("a gzip member ends too early")
        parts.append(part)
        left -= len(part)
        data = member.unused_data.lstrip(b"\0")
        if data and len(parts) == MOST_MEMBERS:
            raise TooLong
    return b"".join(parts)


def _snappy(data: Data, most_bytes: int) -> bytes:
    raw = bytes(data)
    blocks = _xerial_blocks(raw) if raw.startswith(_XERIAL) else [raw]
    if sum(map(cramjam.snappy.decompress_raw_len, blocks)) > most_bytes:
        raise TooLong
    return b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks)


def _xerial_blocks(raw: bytes) -> list[bytes]:
    blocks: list[bytes] = []
    at = _XERIAL_BYTES
    while at < len(raw):
        start = at + _SIZE_BYTES
        at = start + int.from_bytes(raw[at:start], "big")
        blocks.append(raw[start:at])
        if len(blocks) > MOST_BLOCKS:
            raise TooLong
    return blocks


def _into_room(into: Callable[[Data, memoryview], int]) -> Callable[[Data, int], Data]:
    def unpacked(data: Data, most_bytes: int) -> Data:
        for size in (max(FIRST_ROOM, USUAL_RATIO * len(data)), most_bytes):
            room = np.empty(min(size, most_bytes), np.uint8).data  # untouched, it costs nothing
            try:
                return room[: into(data, room)]
            except cramjam.DecompressionError as error:
                if str(error) != _FULL:
                    raise
        raise TooLong

    return unpacked


_CODECS: dict[int, Callable[[Data, int], Data]] = {
    1: _gzip,
    2: _snappy,
    3: _into_room(cramjam.lz4.decompress_into),
    4: _into_room(cramjam.zstd.decompress_into),
}
