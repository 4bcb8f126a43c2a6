"""Blocks: read where they are computed, and their results put together."""

# pyright: reportMissingTypeStubs=false
# (aiokafka ships no type information)

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.record.memory_records import MemoryRecords

from chimera.schemas import headers
from chimera.schemas.batches import ENVELOPE_BYTES, Compression
from chimera.schemas.journal_rows import read_part
from chimera.schemas.responses import Plain
from chimera.schemas.stored import parse
from chimera.schemas.work import BatchStory
from chimera.workers.collection import HELD_BYTES, HELD_NS, Collection, read
from chimera.workers.ledger import Ledger, group_of
from chimera.workers.tenant_keys import TenantKeys
from tests.schemas.test_stored import by_append
from tests.workers.rig import block, request

STORY = BatchStory("m", "1", "ab", "onnx-cpu", 3, 1)
LIMIT = 10_000


def tail(number: int) -> bytes:
    return headers.tail(b"result %d" % number, 1, headers.header("h", b"x"))


def add(collection: Collection, indexes: Sequence[int], tails: Sequence[bytes]) -> None:
    collection.add(indexes, tails, sum(map(len, tails)), STORY)


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_block_is_read_into_a_work(compression: Compression) -> None:
    values = [request((at, 1), id="long" * 200) for at in range(3)]
    given = block(values, start=7, keys=[b"a", None, b"c"], compression=compression)
    found = read(given, LIMIT)
    assert found is not None
    work, collection = found
    assert list(work.offsets) == [7, 8, 9]
    assert work.values == values
    assert (len(given.raw) < sum(map(len, values))) is (compression != "none")
    assert (work.heads, work.deadlines, work.extras) == ([-1] * 3, [0] * 3, {})
    assert collection.left == 3


@pytest.mark.parametrize("odd", ["null", "empty", "large", "header", "key"])
def test_block_with_a_record_that_is_not_plain_goes_back(odd: str) -> None:
    values: list[bytes | None] = [request((at, 1)) for at in range(3)]
    keys = [b"k"] * 3
    encoded = b""
    if odd in ("null", "empty", "large"):
        values[1] = {"null": None, "empty": b"", "large": bytes(LIMIT + 1)}[odd]
    elif odd == "header":
        encoded = headers.header("traceparent", b"x")
    else:
        keys[1] = bytes(ENVELOPE_BYTES + 1)
    assert read(block(values, keys=keys, encoded=encoded), LIMIT) is None


def test_damaged_block_goes_back() -> None:
    given = block([request((0, 1))])
    given.raw = bytes(given.raw[:-1]) + bytes([given.raw[-1] ^ 1])
    assert read(given, LIMIT) is None


@pytest.mark.parametrize("times", [(), (1_000, 1_000), (1_000, 1_002)])
def test_rows_of_the_journal_have_their_records_times(
    times: tuple[int, ...], tmp_path: Path
) -> None:
    given = block([request((0, 1))] * 5)
    if times:  # of a topic that keeps when its batches were appended
        batches = (block([request((0, 1))] * 2), block([request((0, 1))] * 3, start=2))
        raws = [by_append(bytes(one.raw), at) for one, at in zip(batches, times, strict=True)]
        given = replace(given, raw=b"".join(raws))
    found = read(given, LIMIT, Ledger("cpu:0", TenantKeys(tmp_path)))
    assert found is not None and found[1].pages is not None
    pages = found[1].pages
    pages.add(range(5), group_of(STORY, 1, 2), [b""] * 5, Plain.of([b"result"] * 5))
    rows = read_part(pages.parts([0] * 5)[4:])
    assert rows.appended_ms.tolist() == [one.timestamp for one in parse(given.raw)]
    if times:
        assert rows.appended_ms.tolist() == [times[0]] * 2 + [times[1]] * 3


@pytest.mark.parametrize("order", [[[0, 1, 2]], [[2], [0, 1]], [[0, 2], [1]]])
def test_results_come_in_the_requests_order(order: list[list[int]]) -> None:
    keys = [b"a", None, b"c"]
    collection = Collection(block([b"x"] * 3, keys=keys), list(keys))
    for indexes in order:
        add(collection, indexes, [tail(at) for at in indexes])
    assert not collection.left
    results = collection.results(100_000, "snappy")
    (batch,) = results.batches
    assert (results.count, len(results.stories)) == (3, len(order))
    stored = MemoryRecords(batch.sent_by(1, 2, 3, transactional=True)).next_batch()
    assert stored is not None and stored.validate_crc()
    assert [(one.offset, one.key, one.value) for one in stored] == [
        (at, keys[at], b"result %d" % at) for at in range(3)
    ]


def test_results_wait_for_others_while_there_is_room_and_not_for_long() -> None:
    collection = Collection(block([b"x"] * 3), [b"k"] * 3)
    assert collection.may_wait(1, HELD_BYTES, 0)
    assert not collection.may_wait(2, HELD_BYTES + 1, 0)
    assert not collection.may_wait(1, 1, HELD_NS)
    add(collection, [0], [bytes(HELD_BYTES - 3)])
    assert collection.may_wait(1, 1, HELD_NS - 1) and not collection.may_wait(1, 4, 0)
    assert collection.may_wait(2, 2, HELD_NS), "they are the last"


def test_results_that_are_large_together_are_several_batches() -> None:
    collection = Collection(block([b"x"] * 3), [b"k"] * 3)
    add(collection, range(3), [tail(at) for at in range(3)])
    results = collection.results(80, "none")
    assert [batch.count for batch in results.batches] == [2, 1]
