"""Compressed bytes: unpacked whole, or not at all."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (neither aiokafka nor cramjam says everything of its types)

import zlib
from collections.abc import Callable

import cramjam
import pytest
from aiokafka import codec
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.compressed import FIRST_ROOM, MOST_BLOCKS, MOST_MEMBERS, TooLong, unpack

MIB = 1 << 20
GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4


def streamed(data: bytes) -> bytes:
    """Zstandard that does not say how long it is, as Java's and librdkafka's do not."""
    compressor = cramjam.zstd.Compressor()
    compressor.compress(data)
    return bytes(compressor.finish())


def unframed(data: bytes) -> bytes:
    """Snappy without Java's framing."""
    return bytes(cramjam.snappy.compress_raw(data))


WAYS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "gzip": (GZIP, codec.gzip_encode),
    "snappy of Java": (SNAPPY, codec.snappy_encode),
    "snappy": (SNAPPY, unframed),
    "lz4": (LZ4, codec.lz4_encode),
    "zstd": (ZSTD, codec.zstd_encode),
    "zstd without its size": (ZSTD, streamed),
}
each_way = pytest.mark.parametrize(("number", "compress"), WAYS.values(), ids=WAYS.keys())


@each_way
@pytest.mark.parametrize("size", [1, 1_000, FIRST_ROOM, 3 * FIRST_ROOM])
def test_what_was_compressed_is_unpacked_up_to_the_last_byte_that_it_may_have(
    number: int, compress: Callable[[bytes], bytes], size: int
) -> None:
    data = (b"chimera" * size)[:size]
    packed = compress(data)
    assert bytes(unpack(number, memoryview(packed), size)) == data
    with pytest.raises(TooLong):
        unpack(number, packed, size - 1)


@each_way
def test_bomb_is_not_unpacked(number: int, compress: Callable[[bytes], bytes]) -> None:
    with pytest.raises(TooLong):
        unpack(number, compress(bytes(64 * MIB)), MIB)


@each_way
def test_end_that_is_missing_is_damage(number: int, compress: Callable[[bytes], bytes]) -> None:
    packed = compress(b"chimera" * 1_000)
    with pytest.raises((ValueError, zlib.error, cramjam.DecompressionError)):
        unpack(number, packed[:-3], MIB)


def test_members_of_gzip_are_counted_together() -> None:
    packed = codec.gzip_encode(b"a" * 600) + codec.gzip_encode(b"b" * 600) + bytes(8)
    assert unpack(GZIP, packed, 1_200) == b"a" * 600 + b"b" * 600
    with pytest.raises(TooLong):
        unpack(GZIP, packed, 1_199)


def test_more_pieces_than_any_client_makes_are_not_unpacked() -> None:
    member = codec.gzip_encode(b"")
    assert unpack(GZIP, member * MOST_MEMBERS, MIB) == b""
    with pytest.raises(TooLong):
        unpack(GZIP, member * (MOST_MEMBERS + 1), MIB)
    frame, block = codec.snappy_encode(b"")[:16], unframed(b"")
    block = len(block).to_bytes(4, "big") + block
    assert unpack(SNAPPY, frame + block * MOST_BLOCKS, MIB) == b""
    with pytest.raises(TooLong):
        unpack(SNAPPY, frame + block * (MOST_BLOCKS + 1), MIB)


def test_frames_of_zstd_are_counted_together() -> None:
    packed = streamed(b"a" * 600) + streamed(b"b" * 600)
    assert bytes(unpack(ZSTD, packed, 1_200)) == b"a" * 600 + b"b" * 600
    with pytest.raises(TooLong):
        unpack(ZSTD, packed, 1_199)


@given(number=st.integers(0, 7), start=st.sampled_from((b"", b"\x82SNAPPY\0")), data=st.binary())
def test_bytes_of_any_kind_are_unpacked_or_damaged(number: int, start: bytes, data: bytes) -> None:
    try:
        found = unpack(number, start + data, MIB)
    except (TooLong, ValueError, zlib.error, cramjam.DecompressionError):
        return
    assert len(found) <= MIB
