"""Record batches (Kafka's message format v2), built from the record tails that executors encode.

`aiokafka`'s builder wants every header as a Python pair; at 100,000 results a second with fifteen
headers each, that alone would take a core. Here a record is its key and a finished tail, and a
batch is one join. `Encoded` is a batch but for who sends it: an executor makes it, its node puts
the producer's numbers and the checksum before it (`sent_by`). Headers repeat from record to record, so snappy
makes a batch five times smaller, and saves broker and node more time than it costs (measured;
docs/performance.md). Format: Apache Kafka's "Message Format" documentation;
`tests/schemas/test_batches.py` reads every batch back with aiokafka's own parser.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false
# (aiokafka ships no type information)

import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from aiokafka import codec
from crc32c import crc32c

from chimera.schemas.headers import NULL, SMALL, VARINTS, varint

HEADER = struct.Struct(">qiibIhiqqqhii")
CHECKED_FROM = 21  # what precedes is outside the checksum: base offset, length, epoch, magic, CRC
AFTER_LENGTH = 12  # base offset and the length itself are not counted in the length
TRANSACTIONAL = 0x10
OVERHEAD = 17  # at most: length, attributes, both deltas, and the length of the key
BATCH_BYTES = 524_288  # records together; a larger one goes alone, and needs its topic's limit
ENVELOPE_BYTES = 32 * 1024  # key and headers of a request, together
FRAMING_BYTES = (
    128  # a batch of one record: its header (61) and the record's own lengths, rounded up
)

WORTH_BYTES = 512  # a smaller body is not compressed
Compression = Literal["none", "snappy", "zstd"]
CODECS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "snappy": (2, codec.snappy_encode),
    "zstd": (4, codec.zstd_encode),
}

_BEFORE_KEY = [b"\x00\x00" + number for number in VARINTS[:4_096]]
"""Attributes, timestamp's delta and offset's delta of a batch's n-th record."""
_BEFORE_VALUE = [before + NULL for before in _BEFORE_KEY]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A batch's records as they go on the wire, compressed or not."""

    count: int
    codec: int  # its number in the batch's attributes
    body: bytes

    def sent_by(self, producer_id: int, epoch: int, sequence: int, *, transactional: bool) -> bytes:
        """The whole batch with its header and CRC-32C, stamped with the time of the call."""
        now = time.time_ns() // 1_000_000
        header = HEADER.pack(
            0,
            HEADER.size + len(self.body) - AFTER_LENGTH,
            -1,
            2,
            0,
            self.codec | (TRANSACTIONAL if transactional else 0),
            self.count - 1,
            now,
            now,
            producer_id,
            epoch,
            sequence,
            self.count,
        )
        checked = header[CHECKED_FROM:]
        crc = crc32c(self.body, crc32c(checked))
        before = header[: CHECKED_FROM - 4] + struct.pack(">I", crc)
        return b"".join((before, checked, self.body))


def encode(
    keys: Iterable[bytes | None], tails: Sequence[bytes], compression: Compression = "none"
) -> Encoded:
    """One batch; a tail is a record's value and headers (`schemas.headers.tail`)."""
    parts: list[bytes] = []
    for count, (key, tail) in enumerate(zip(keys, tails, strict=True)):
        if key is None:
            key, key_length = b"", NULL
        else:
            key_length = varint(len(key))
        before = _BEFORE_KEY[count] if count < 4_096 else b"\x00\x00" + varint(count)
        length = len(before) + len(key_length) + len(key) + len(tail)
        size = VARINTS[length] if length < SMALL else varint(length)
        parts += (size, before, key_length, key, tail)
    body, number = _compressed(b"".join(parts), compression)
    return Encoded(len(tails), number, body)


def encode_keyless(
    values: Sequence[bytes], ends: Iterable[bytes], compression: Compression = "none"
) -> Encoded:
    """One batch of records without keys; an end is a record's headers, with their count before them."""
    parts: list[bytes] = []
    for count, (value, end) in enumerate(zip(values, ends, strict=True)):
        before = _BEFORE_VALUE[count] if count < 4_096 else b"\x00\x00" + varint(count) + NULL
        size = len(value)
        told = VARINTS[size] if size < SMALL else varint(size)
        length = len(before) + len(told) + size + len(end)
        parts += (VARINTS[length] if length < SMALL else varint(length), before, told, value, end)
    body, number = _compressed(b"".join(parts), compression)
    return Encoded(len(values), number, body)


def encode_all(
    keys: Sequence[bytes | None],
    tails: Sequence[bytes],
    max_bytes: int,
    compression: Compression = "none",
) -> list[Encoded]:
    """Batches of at most `max_bytes`, in order; a single larger record gets one of its own.

    `max_bytes` counts records as they are before compression, without the batch's header.
    """
    if not tails:
        return []
    total = sum(map(len, tails)) + OVERHEAD * len(tails) + sum(map(len, filter(None, keys)))
    if total <= max_bytes:
        return [encode(keys, tails, compression)]
    sizes = [len(tail) + OVERHEAD for tail in tails]
    batches: list[Encoded] = []
    start = together = 0
    for at, (key, size) in enumerate(zip(keys, sizes, strict=True)):
        size += len(key or b"")
        if together and together + size > max_bytes:
            batches.append(encode(keys[start:at], tails[start:at], compression))
            start, together = at, 0
        together += size
    batches.append(encode(keys[start:], tails[start:], compression))
    return batches


def _compressed(body: bytes, compression: Compression) -> tuple[bytes, int]:
    """The body as it goes on the wire, and the codec's number for the batch's attributes."""
    if compression == "none" or len(body) < WORTH_BYTES:
        return body, 0
    number, compress = CODECS[compression]
    smaller = compress(body)
    return (smaller, number) if len(smaller) < len(body) else (body, 0)
