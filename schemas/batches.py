"""Record batches (Kafka's message format v2), built from the record tails that executors encode.

`aiokafka`'s builder wants every header as a Python pair; at 100,000 results a second with fifteen
headers each, that alone would take a core. Here a record is its key and a finished tail, and a
batch is one join. `Encoded` is a batch but for who sends it: an executor makes it, its node puts
the producer's numbers and the checksum before it. Headers repeat from record to record, so snappy
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
from typing import Literal, Protocol

from aiokafka import codec
from crc32c import crc32c

from chimera.schemas.headers import varint

HEADER = struct.Struct(">qiibIhiqqqhii")
CHECKED_FROM = 21  # what precedes is outside the checksum: base offset, length, epoch, magic, CRC
AFTER_LENGTH = 12  # base offset and the length itself are not counted in the length
TRANSACTIONAL = 0x10
OVERHEAD = 32  # bytes that a record adds to its key and tail, at most
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

_VARINTS = [varint(number) for number in range(16_384)]
_NO_KEY = varint(-1)
_NUMBERED = 4_096
_BEFORE_KEY = [b"\x00\x00" + number for number in _VARINTS[:_NUMBERED]]
"""Attributes, timestamp's delta and offset's delta of a batch's n-th record."""


def _varint(number: int) -> bytes:
    return _VARINTS[number] if number < 16_384 else varint(number)


Record = tuple[bytes | None, bytes]
"""A record's key and its tail (value and headers, `schemas.headers.tail`)."""


class Batch(Protocol):
    """What a producer sends: it only adds its own numbers."""

    @property
    def count(self) -> int: ...

    def encode(
        self,
        producer_id: int,
        epoch: int,
        sequence: int,
        *,
        transactional: bool,
        compression: Compression = "none",
    ) -> bytes:
        """The whole batch with its header and CRC-32C, stamped with the time of the call."""
        ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """A batch's records as they go on the wire; compressed or not is settled."""

    count: int
    codec: int  # its number in the batch's attributes
    body: bytes

    def encode(
        self,
        producer_id: int,
        epoch: int,
        sequence: int,
        *,
        transactional: bool,
        compression: Compression = "none",
    ) -> bytes:
        """See `Batch`; `compression` comes too late here."""
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


class Records:
    """The records of one batch, in order, and their size in bytes without the batch's header."""

    __slots__ = ("_parts", "count", "size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.count = 0
        self.size = 0

    def add(self, key: bytes | None, tail: bytes) -> None:
        """Append one record; its timestamp is the batch's."""
        delta = _varint(self.count)
        if key is None:
            key, key_length = b"", _NO_KEY
        else:
            key_length = _varint(len(key))
        length = 2 + len(delta) + len(key_length) + len(key) + len(tail)
        self._parts += (_varint(length), b"\x00\x00", delta, key_length, key, tail)
        self.count += 1
        self.size += length + 3

    def extend(self, keys: Iterable[bytes | None], tails: Iterable[bytes]) -> None:
        """Append many records: as `add`, in half the time."""
        parts, count, size = self._parts, self.count, self.size
        for key, tail in zip(keys, tails, strict=True):
            if key is None:
                key, key_length = b"", _NO_KEY
            else:
                key_length = _varint(len(key))
            before = _BEFORE_KEY[count] if count < _NUMBERED else b"\x00\x00" + _varint(count)
            length = len(before) + len(key_length) + len(key) + len(tail)
            parts += (
                _VARINTS[length] if length < 16_384 else varint(length),
                before,
                key_length,
                key,
                tail,
            )
            count += 1
            size += length + 3
        self.count, self.size = count, size

    def finish(self, compression: Compression) -> Encoded:
        """The batch for any producer."""
        body, number = _compressed(b"".join(self._parts), compression)
        return Encoded(self.count, number, body)

    def encode(
        self,
        producer_id: int,
        epoch: int,
        sequence: int,
        *,
        transactional: bool,
        compression: Compression = "none",
    ) -> bytes:
        """See `Batch`."""
        finished = self.finish(compression)
        return finished.encode(producer_id, epoch, sequence, transactional=transactional)


def _compressed(body: bytes, compression: Compression) -> tuple[bytes, int]:
    """The body as it goes on the wire, and the codec's number for the batch's attributes."""
    if compression == "none" or len(body) < WORTH_BYTES:
        return body, 0
    number, encode = CODECS[compression]
    smaller = encode(body)
    return (smaller, number) if len(smaller) < len(body) else (body, 0)


def join(keys: Sequence[bytes | None], tails: Sequence[bytes], max_bytes: int) -> list[Records]:
    """Batches as `split` makes them; quicker where one takes all."""
    size = sum(map(len, tails)) + sum([len(key or b"") for key in keys]) + OVERHEAD * len(keys)
    if size > max_bytes:
        return split(zip(keys, tails, strict=True), max_bytes)
    found = Records()
    found.extend(keys, tails)
    return [found]


def split(records: Iterable[Record], max_bytes: int) -> list[Records]:
    """Batches of at most `max_bytes`, in order; a single larger record gets a batch of its own."""
    batches: list[Records] = []
    current = Records()
    for key, tail in records:
        size = len(tail) + len(key or b"") + OVERHEAD
        if current.count and current.size + size > max_bytes:
            batches.append(current)
            current = Records()
        current.add(key, tail)
    if current.count:
        batches.append(current)
    return batches
