"""ClickHouse's own frames: those that it has written itself, our own, and broken ones."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (clickhouse-cityhash and cramjam ship no types for what they return)

import struct
from pathlib import Path

import cramjam
import pytest
from clickhouse_cityhash.cityhash import CityHash128  # type: ignore[import-untyped]  # ships none
from hypothesis import given
from hypothesis import strategies as st

from chimera.cli.warehousing.http_blocks import MAX_BYTES, NONE, ZSTD, Frames, decoded
from chimera.cli.warehousing.http_bodies import MOST_BYTES
from chimera.stores.clickhouse import ClickHouse

FRAME = Frames().encode(b"SELECT 1 " * 20)


@pytest.mark.parametrize("codec", ["LZ4", "ZSTD(1)", "NONE"])
def test_column_that_the_engine_has_written_is_read(engine: ClickHouse, codec: str) -> None:
    engine.command("DROP TABLE IF EXISTS chimera.framed")
    engine.command(
        f"CREATE TABLE chimera.framed (n UInt64 CODEC({codec})) ENGINE = MergeTree ORDER BY ()"
        " SETTINGS min_bytes_for_wide_part = 0"
    )
    engine.command("INSERT INTO chimera.framed SELECT number % 1000 FROM numbers(300000)")
    ((folder,),) = engine.rows(
        "SELECT path FROM system.parts WHERE active AND table = 'framed' AND database = 'chimera'"
    )
    raw = (Path(str(folder)) / "n.bin").read_bytes()
    numbers = struct.unpack("<300000Q", decoded(raw))
    assert numbers == tuple(number % 1000 for number in range(300_000))


@pytest.mark.parametrize("size", [0, 1, MAX_BYTES, 2 * MAX_BYTES + 1])
def test_what_is_framed_comes_back(size: int) -> None:
    text = (b"0123456789" * (size // 10 + 1))[:size]
    frames = Frames()
    assert decoded(frames.encode(text) + frames.finish()) == text


def test_no_byte_of_a_frame_may_be_another() -> None:
    for at in range(len(FRAME)):
        broken = bytearray(FRAME)
        broken[at] ^= 1
        with pytest.raises(ValueError, match="frame"):
            decoded(bytes(broken))
        with pytest.raises(ValueError, match="ends within a frame"):
            decoded(FRAME + FRAME[: at or 1])


@given(st.binary(max_size=64), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_whatever_a_frame_says_of_itself_it_is_read_or_refused(
    data: bytes, method: int, becomes: int
) -> None:
    try:
        decoded(checked(data, method, becomes))
    except ValueError as error:
        assert "frame" in str(error)


def test_body_that_becomes_too_much_is_refused() -> None:
    bomb = bytes(cramjam.zstd.compress(bytes(1 << 20)))
    assert len(decoded(checked(bomb, ZSTD, 1 << 20))) == 1 << 20
    with pytest.raises(ValueError, match="damaged"):
        decoded(checked(bomb, ZSTD, 100))
    with pytest.raises(ValueError, match="more than"):
        decoded(Frames().encode(bytes(MOST_BYTES + 1)))
    with pytest.raises(ValueError, match="more than"):
        decoded(checked(b"", NONE, MOST_BYTES + 1))


def checked(data: bytes, method: int, becomes: int) -> bytes:
    """A frame with the checksum that it should have."""
    framed = struct.pack("<BII", method, 9 + len(data), becomes) + data
    found: int = CityHash128(framed)
    return struct.pack("<QQ", found >> 64, found & (1 << 64) - 1) + framed
