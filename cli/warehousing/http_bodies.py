"""Bodies over HTTP, smaller: what a client takes, and what it sent.

gzip and deflate (RFC 9110), lz4 (frames) and zstd, as ClickHouse has them over HTTP. An answer is
encoded block by block and flushed after each, so that a client reads rows while others are made.
`tests/cli/test_http_interface.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (cramjam ships stubs without types for what it returns)

import zlib
from typing import Any, Protocol

import cramjam

MOST_BYTES = 4 << 20  # of a question, however it comes; once it is decoded, too
GZIP_BITS, ZLIB_BITS = 31, 15
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class Encoder(Protocol):
    def encode(self, part: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class Plain:
    """As it is."""

    def encode(self, part: bytes) -> bytes:
        return part

    def finish(self) -> bytes:
        return b""


class Zlib:
    """gzip and deflate."""

    def __init__(self, bits: int) -> None:
        self._made = zlib.compressobj(3, zlib.DEFLATED, bits)

    def encode(self, part: bytes) -> bytes:
        return self._made.compress(part) + self._made.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._made.flush()


class Framed:
    """lz4 and zstd: one frame, flushed after each part."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def encode(self, part: bytes) -> bytes:
        self._made.compress(part)
        return bytes(self._made.flush())

    def finish(self) -> bytes:
        return bytes(self._made.finish())


def encoder(accepted: str) -> tuple[str | None, Encoder]:
    """The first of what a client accepts that is known here; its name, or none."""
    for name in (one.partition(";")[0].strip().lower() for one in accepted.split(",")):
        if name == "zstd":
            return name, Framed(cramjam.zstd.Compressor())
        if name == "lz4":
            return name, Framed(cramjam.lz4.Compressor())
        if name == "gzip":
            return name, Zlib(GZIP_BITS)
        if name == "deflate":
            return name, Zlib(ZLIB_BITS)
    return None, Plain()


def decoded(body: bytes, encoding: str) -> bytes:
    """What a client sent; gzip and deflate are undone already, and zstd where aiohttp can.

    What aiohttp undoes it counts meanwhile, and stops at `MOST_BYTES`; so does this.

    Raises:
        ValueError: it is not encoded so, or becomes too much.
    """
    if encoding == "lz4":
        return _bounded(cramjam.lz4, body, encoding)
    if encoding == "zstd" and body.startswith(_ZSTD_MAGIC):
        return _bounded(cramjam.zstd, body, encoding)
    return body


def _bounded(codec: Any, body: bytes, encoding: str) -> bytes:
    """`decompress` would make gigabytes of a few MiB: what it becomes has a place of its own."""
    room = bytearray(MOST_BYTES)
    try:
        size: int = codec.decompress_into(body, room)
    except cramjam.DecompressionError as error:
        raise ValueError(
            f"the body is not {encoding}, or becomes more than {MOST_BYTES} bytes: {error}"
        ) from None
    return bytes(memoryview(room)[:size])
