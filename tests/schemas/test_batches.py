"""Batches as aiokafka's own parser reads them."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from typing import Any

import pytest
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas import headers
from chimera.schemas.batches import Compression, Record, Records, split

KEYS = st.none() | st.binary(max_size=300)
VALUES = st.none() | st.binary(max_size=20_000)
HEADERS = st.lists(st.tuples(st.text(max_size=20), st.none() | st.binary(max_size=100)), max_size=5)


def read(encoded: bytes) -> list[tuple[int, bytes | None, bytes | None, list[object]]]:
    batch = MemoryRecords(encoded).next_batch()
    assert batch is not None and batch.validate_crc()
    return [(one.offset, one.key, one.value, list(one.headers)) for one in batch]


@given(st.lists(st.tuples(KEYS, VALUES, HEADERS), min_size=1, max_size=20))
def test_batch_reads_back_whatever_was_written(
    written: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]],
) -> None:
    records = Records()
    for key, value, pairs in written:
        records.add(key, headers.tail(value, len(pairs), headers.headers(pairs)))
    assert read(records.encode(7, 3, 11, transactional=True)) == [
        (index, key, value, pairs) for index, (key, value, pairs) in enumerate(written)
    ]


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_batch_reads_back_from_every_compression(compression: Compression) -> None:
    records = Records()
    tail = headers.tail(b"value" * 50, 1, headers.headers([("name", b"text")]))
    for number in range(100):
        records.add(b"%d" % number, tail)
    encoded = records.encode(7, 3, 11, transactional=True, compression=compression)
    found = read(encoded)
    assert [key for _, key, _, _ in found] == [b"%d" % number for number in range(100)]
    assert {value for _, _, value, _ in found} == {b"value" * 50}
    assert (len(encoded) < records.size / 3) == (compression != "none")


def test_batch_header_names_its_producer() -> None:
    records = Records()
    records.add(b"key", headers.tail(b"value", 0, b""))
    batch = MemoryRecords(records.encode(123, 4, 99, transactional=True)).next_batch()
    assert batch is not None
    assert (batch.producer_id, batch.is_transactional) == (123, True)
    plain = MemoryRecords(records.encode(123, 4, 99, transactional=False)).next_batch()
    assert plain is not None and not plain.is_transactional


def test_batch_is_stamped_with_the_present() -> None:
    records = Records()
    records.add(None, headers.tail(b"value", 0, b""))
    batch = MemoryRecords(records.encode(1, 1, 0, transactional=False)).next_batch()
    assert batch is not None
    first: Any = next(iter(batch))
    assert (first.timestamp or 0) > 1_700_000_000_000


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=40), st.integers(1_000, 8_000))
def test_split_keeps_every_record_in_order_and_batches_within_the_limit(
    sizes: list[int], limit: int
) -> None:
    written: list[Record] = [
        (b"%d" % index, headers.tail(b"v" * size, 0, b"")) for index, size in enumerate(sizes)
    ]
    batches = split(written, limit)
    keys = [
        key
        for batch in batches
        for _, key, _, _ in read(batch.encode(1, 1, 0, transactional=False))
    ]
    assert keys == [key for key, _ in written]
    for batch in batches:
        assert batch.count == 1 or batch.size <= limit
