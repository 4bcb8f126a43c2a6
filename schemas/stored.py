"""Record batches as a broker stores them: what a fetch brings, walked without reading records.

    heads   what each whole batch says of itself: its offsets, its count, whose it is
    parse   the records of some batches, checked against their CRC-32C

A walk costs a microsecond a batch, however many records it has. Parsing is aiokafka's; where a
producer has written a header's name that is not UTF-8, which Kafka allows and aiokafka does not
read, the batches are parsed again, slower, with backslash escapes in that name. Compressed batches
that are parsed together take `MOST_BYTES` of memory at most: where they would take more, the largest
stay packed, and their records are `Withheld`.
Format: Apache Kafka's "Message Format" documentation. `tests/schemas/test_stored.py` reads batches
of every compression, of foreign clients, and damaged ones.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportPrivateUsage=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportUntypedBaseClass=false
# pyright: reportIncompatibleMethodOverride=false
# (aiokafka ships no type information, and marks its parsers final, for type checkers only)

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiokafka.record.default_records import (
    DefaultRecordBatch,
    _DefaultRecordBatchPy,
    _DefaultRecordPy,
)
from aiokafka.record.util import decode_varint_py
from crc32c import crc32c

from chimera.schemas.batches import AFTER_LENGTH, CHECKED_FROM, HEADER, TRANSACTIONAL
from chimera.schemas.compressed import Data, TooLong, unpack
from chimera.schemas.errors import ChimeraError
from chimera.schemas.withheld import WithheldBatch

MOST_BYTES = 128 << 20
"""More than honest requests become: a fetch of 1 MiB that was 128 times as large. As values are
copied, a reader needs three times that."""
RECORD_BYTES = 256  # that a record takes beside its key, value and headers
HEADER_BYTES = 160  # that a header takes: four bytes of a batch are enough for one
UNWATCHED_BYTES = 8 << 20  # up to here nobody counts headers
WORK_BYTES = (
    4 * MOST_BYTES
)  # unpacked together, in about a second; whoever does it does nothing else
FAIR_BYTES = 1 << 20  # that a batch may become even after that

CONTROL = 0x20
BY_APPEND = 0x08
_CODEC = 0x07
_MAGIC_AT = 16
_LENGTH_AT = 8
_CRC_AT = 17
_ATTRIBUTES_AT = 22  # their lower byte
_ABORT = 0  # the type of a control record that ends a transaction so


class Damaged(ChimeraError):
    """A batch's checksum, or its structure, is not right: the log or the line changed it."""


class Stored(Protocol):
    """A Kafka record as aiokafka parses it."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> list[tuple[str, bytes | None]]: ...


@dataclass(frozen=True, slots=True)
class Head:
    """One batch, without its records; it lies at `start` to `stop` of the fetched bytes."""

    start: int
    stop: int
    first: int  # its first offset
    next: int  # the offset after its last
    count: int  # records
    first_ms: int  # when its producer made the first record, epoch
    last_ms: int  # the last, or when the broker appended them, where their topic keeps that
    attributes: int
    producer_id: int

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & CONTROL)

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & TRANSACTIONAL)

    @property
    def is_by_append(self) -> bool:
        return bool(self.attributes & BY_APPEND)

    @property
    def appended_ms(self) -> int:
        """Of the first record: what the record itself says."""
        return self.last_ms if self.is_by_append else self.first_ms

    @property
    def is_compressed(self) -> bool:
        return bool(self.attributes & _CODEC)


def heads(raw: bytes | memoryview) -> Iterator[Head]:
    """Every whole batch; a fetch may end in a part of one.

    Raises:
        Damaged: a batch is of a format older than Kafka 0.11, which Kafka 4 does not write.
    """
    start, end = 0, len(raw)
    while start + HEADER.size <= end:
        first, length, _, magic, _, attributes, last, first_ms, last_ms, producer_id, *_, count = (
            HEADER.unpack_from(raw, start)
        )
        stop = start + AFTER_LENGTH + length
        if stop > end:
            return
        if magic != 2 or stop < start + HEADER.size:
            raise Damaged(f"no record batch of format 2 at offset {first} (magic {magic})")
        yield Head(
            start, stop, first, first + last + 1, count, first_ms, last_ms, attributes, producer_id
        )
        start = stop


def is_whole(raw: bytes | memoryview) -> bool:
    """Whether at least one whole batch is there; a single larger one needs a larger fetch."""
    if len(raw) < AFTER_LENGTH:
        return False
    length = int.from_bytes(raw[_LENGTH_AT:AFTER_LENGTH], "big")
    return len(raw) >= AFTER_LENGTH + length


def is_abort(raw: bytes | memoryview, head: Head) -> bool:
    """Whether a control batch marks the abort of its producer's transaction."""
    (marker,) = _records([memoryview(raw)[head.start : head.stop]], DefaultRecordBatch)
    key = marker.key or b""
    return len(key) >= 4 and int.from_bytes(key[2:4], "big") == _ABORT


def parse(raw: bytes | memoryview) -> list[Stored]:
    """All records of whole batches, in order.

    Raises:
        Damaged: a checksum is wrong, or records are not what their batch says.
    """
    return _read(_unpacked(raw))


def parse_batch(raw: bytes | memoryview) -> Sequence[Stored]:
    """As `parse`, of one batch: a withheld one may have more records than there is memory for."""
    (part,) = _unpacked(raw)
    return part if isinstance(part, WithheldBatch) else _read([part])


def _unpacked(raw: bytes | memoryview) -> list[Data | WithheldBatch]:
    """The batches, none of them compressed."""
    view, found = memoryview(raw), tuple(heads(raw))
    for head in found:
        told = int.from_bytes(view[head.start + _CRC_AT : head.start + CHECKED_FROM], "big")
        if crc32c(view[head.start + CHECKED_FROM : head.stop]) != told:
            raise Damaged(f"the checksum of the batch at offset {head.first} is wrong")
    parts: list[Data | WithheldBatch] = [view[head.start : head.stop] for head in found]
    if any(head.is_compressed for head in found):
        _unpack(parts, view, found)
    return parts


def _unpack(parts: list[Data | WithheldBatch], view: memoryview, found: Sequence[Head]) -> None:
    costs: dict[int, int] = {}
    together = worked = 0
    for at, head in enumerate(found):
        if not head.is_compressed:
            continue
        room = min(MOST_BYTES, max(FAIR_BYTES, WORK_BYTES - worked))
        try:
            parts[at] = part = _without_codec(view, head, room)
            worked += len(part)
            costs[at] = _cost(part, head.count, together)
        except TooLong:
            worked += room
            costs[at] = MOST_BYTES + 1
        except Exception as error:
            raise Damaged(f"a batch that cannot be unpacked: {error!r}") from error
        together += costs[at]
        while together > MOST_BYTES:  # the largest: a bomb does its neighbours no harm
            largest = max(costs, key=costs.__getitem__)
            together -= costs.pop(largest)
            parts[largest] = _withheld(found[largest])


def _without_codec(view: memoryview, head: Head, room: int) -> bytes:
    """As if its producer had compressed nothing. Raises TooLong, and what `unpack` does."""
    room -= RECORD_BYTES * max(0, head.count)
    if room < 0:
        raise TooLong
    body = head.start + HEADER.size
    header = bytearray(view[head.start : body])
    header[_ATTRIBUTES_AT] &= ~_CODEC
    return b"".join((header, unpack(head.attributes & _CODEC, view[body : head.stop], room)))


def _cost(part: bytes, count: int, together: int) -> int:
    """Of memory, once it is parsed; so much the batches before it cost."""
    cost = len(part) + RECORD_BYTES * max(0, count)
    if together + cost > UNWATCHED_BYTES:
        cost += HEADER_BYTES * _headers(part, count)
    return cost


def _headers(part: bytes, count: int) -> int:
    """How many headers a batch's records say they have."""
    found, stop = 0, HEADER.size
    buffer: Any = part  # bytes are enough for it
    for _number in range(count):
        length, at = decode_varint_py(buffer, stop)
        stop = at + length
        for _field in ("attributes", "timestamp", "offset"):
            _, at = decode_varint_py(buffer, at)
        for _field in ("key", "value"):
            size, at = decode_varint_py(buffer, at)
            at += max(0, size)
        found += max(0, decode_varint_py(buffer, at)[0])
    return found


def _withheld(head: Head) -> WithheldBatch:
    return WithheldBatch(range(head.first, head.next), head.appended_ms)


def _read(parts: Sequence[Data | WithheldBatch]) -> list[Stored]:
    try:
        try:
            return _records(parts, DefaultRecordBatch)
        except UnicodeDecodeError:
            return _records(parts, _TolerantBatch)
    except Exception as error:
        raise Damaged(f"records that cannot be read: {error!r}") from error


def _records(
    parts: Iterable[Data | WithheldBatch], batch: Callable[[Data], Iterable[Stored]]
) -> list[Stored]:
    records: list[Stored] = []
    for part in parts:
        records += part if isinstance(part, WithheldBatch) else batch(part)
    return records


class _TolerantBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # final for checkers only
    """Reads header names that are not UTF-8."""

    def _read_msg(self, *_: Any) -> _DefaultRecordPy:
        """One record, by the same format as the parent's; only names are decoded differently.

        With aiokafka's varints in Python: those in C read past the end of what they are given.
        """
        buffer = self._buffer
        length, start = decode_varint_py(buffer, self._pos)
        _attributes, at = decode_varint_py(buffer, start)
        delta_ms, at = decode_varint_py(buffer, at)
        delta, at = decode_varint_py(buffer, at)
        key, at = _nullable(buffer, at)
        value, at = _nullable(buffer, at)
        count, at = decode_varint_py(buffer, at)
        headers: list[tuple[str, bytes | None]] = []
        for _number in range(count):
            name, at = _nullable(buffer, at)
            text, at = _nullable(buffer, at)
            headers.append(((name or b"").decode("utf-8", "backslashreplace"), text))
        if at - start != length:
            raise ValueError(f"a record of {length} bytes has {at - start}")
        self._pos = at
        by_append = self.timestamp_type == self.LOG_APPEND_TIME
        timestamp = self.max_timestamp if by_append else self.first_timestamp + delta_ms
        return _DefaultRecordPy(
            self.base_offset + delta, timestamp, self.timestamp_type, key, value, headers
        )


def _nullable(buffer: bytearray, at: int) -> tuple[bytes | None, int]:
    length, at = decode_varint_py(buffer, at)
    if length < 0:
        return None, at
    return bytes(buffer[at : at + length]), at + length
