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
from chimera.schemas.batches import Compression, encode, encode_all

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
    keys = [key for key, _, _ in written]
    tails = [headers.tail(value, len(some), headers.headers(some)) for _, value, some in written]
    assert read(encode(keys, tails).sent_by(7, 3, 11, transactional=True)) == [
        (index, key, value, pairs) for index, (key, value, pairs) in enumerate(written)
    ]


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_batch_reads_back_from_every_compression(compression: Compression) -> None:
    tail = headers.tail(b"value" * 50, 1, headers.headers([("name", b"text")]))
    keys = [b"%d" % number for number in range(100)]
    batch = encode(keys, [tail] * 100, compression)
    found = read(batch.sent_by(7, 3, 11, transactional=True))
    assert [key for _, key, _, _ in found] == keys
    assert {value for _, _, value, _ in found} == {b"value" * 50}
    assert (len(batch.body) < 100 * len(tail) / 3) == (compression != "none")


def test_batch_header_names_its_producer() -> None:
    records = encode([b"key"], [headers.tail(b"value", 0, b"")])
    batch = MemoryRecords(records.sent_by(123, 4, 99, transactional=True)).next_batch()
    assert batch is not None
    assert (batch.producer_id, batch.is_transactional) == (123, True)
    plain = MemoryRecords(records.sent_by(123, 4, 99, transactional=False)).next_batch()
    assert plain is not None and not plain.is_transactional


def test_batch_is_stamped_with_the_present() -> None:
    records = encode([None], [headers.tail(b"value", 0, b"")])
    batch = MemoryRecords(records.sent_by(1, 1, 0, transactional=False)).next_batch()
    assert batch is not None
    first: Any = next(iter(batch))
    assert (first.timestamp or 0) > 1_700_000_000_000


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=40), st.integers(1_000, 8_000))
def test_batches_keep_every_record_in_order_and_stay_within_the_limit(
    sizes: list[int], limit: int
) -> None:
    keys = [b"%d" % index for index in range(len(sizes))]
    tails = [headers.tail(b"v" * size, 0, b"") for size in sizes]
    batches = encode_all(keys, tails, limit)
    found = [
        key
        for batch in batches
        for _, key, _, _ in read(batch.sent_by(1, 1, 0, transactional=False))
    ]
    assert found == keys
    for batch in batches:
        assert batch.count == 1 or len(batch.body) <= limit
