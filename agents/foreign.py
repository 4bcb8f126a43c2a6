"""Records that aiokafka cannot read: header names that are not UTF-8.

Kafka does not check names, so any producer can write one, and aiokafka's parser then fails at the
whole fetch, for ever. Here such a fetch is parsed again, slower, with what is not UTF-8 in names
written as backslash escapes; the request is served like any other.
`tests/integration/test_transport.py` sends one.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportPrivateUsage=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportUntypedBaseClass=false, reportAbstractUsage=false
# pyright: reportIncompatibleMethodOverride=false
# (aiokafka ships no type information, and marks its parsers final, for type checkers only)

from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record import memory_records
from aiokafka.record.default_records import _DefaultRecordBatchPy, _DefaultRecordPy
from aiokafka.record.util import decode_varint


class KeptRecords(memory_records.MemoryRecords):  # type: ignore[valid-type,misc]  # chosen when it is imported
    """A fetch's bytes, kept so that they can be parsed again."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class KeptPartition(fetcher.PartitionRecords):
    """A partition's part of a fetch, and what it was made of."""

    def __init__(self, tp: Any, records: Any, aborted: Any, fetch_offset: int, *rest: Any) -> None:
        self._made_of = (tp, records, list(aborted or ()), rest)
        super().__init__(tp, records, aborted, fetch_offset, *rest)  # type: ignore[no-untyped-call]  # aiokafka's

    def again(self, fetch_offset: int) -> "KeptPartition":
        """The same part from `fetch_offset` on, for a parser that takes any header name."""
        tp, records, aborted, rest = self._made_of
        return KeptPartition(tp, _Tolerant(records.data), aborted, fetch_offset, *rest)


def install() -> None:
    """Let fetchers keep what they fetch until it is read; harmless to other consumers."""
    module: Any = fetcher
    module.MemoryRecords = KeptRecords
    module.PartitionRecords = KeptPartition


class _Tolerant(memory_records._MemoryRecordsPy):  # type: ignore[misc]  # final for checkers only
    data = b""

    def next_batch(self, *_: Any) -> Any:
        data = self._next_slice
        if data is None or data[self.MAGIC_OFFSET] < 2:
            return super().next_batch()
        self._cache_next()
        return _TolerantBatch(data)


class _TolerantBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # final for checkers only
    def _read_msg(self, *_: Any) -> _DefaultRecordPy:
        """One record, by the same format as the parent's; only names are decoded differently."""
        buffer = self._buffer
        _length, at = decode_varint(buffer, self._pos)
        _attributes, at = decode_varint(buffer, at)
        delta_ms, at = decode_varint(buffer, at)
        delta, at = decode_varint(buffer, at)
        key, at = _nullable(buffer, at)
        value, at = _nullable(buffer, at)
        count, at = decode_varint(buffer, at)
        headers: list[tuple[str, bytes | None]] = []
        for _number in range(count):
            name, at = _nullable(buffer, at)
            text, at = _nullable(buffer, at)
            headers.append(((name or b"").decode("utf-8", "backslashreplace"), text))
        self._pos = at
        by_append = self.timestamp_type == self.LOG_APPEND_TIME
        timestamp = self.max_timestamp if by_append else self.first_timestamp + delta_ms
        return _DefaultRecordPy(
            self.base_offset + delta, timestamp, self.timestamp_type, key, value, headers
        )


def _nullable(buffer: bytearray, at: int) -> tuple[bytes | None, int]:
    length, at = decode_varint(buffer, at)
    if length < 0:
        return None, at
    return bytes(buffer[at : at + length]), at + length
