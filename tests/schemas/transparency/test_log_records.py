"""Records of the log, read back with aiokafka's own parser: one a leaf, each with its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.stored import Stored, parse
from chimera.schemas.transparency import compact_range, log_records
from chimera.schemas.transparency.compact_range import CompactRange
from chimera.schemas.transparency.log_records import (
    COMPACT_RANGE,
    COVERED,
    READ,
    encode_records,
    index_of,
)
from chimera.schemas.transparency.merkle import leaf_hash


def read_back(first: int, bodies: list[bytes]) -> list[Stored]:
    tree = CompactRange().extend(map(leaf_hash, bodies))
    batches = encode_records(first, bodies, tree, b"{}", b"[]")
    return [one for batch in batches for one in parse(batch.sent_by(1, 0, 0, transactional=True))]


@given(
    st.integers(0, 2**62), st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20)
)
def test_records_have_leaves_and_places(first: int, bodies: list[bytes]) -> None:
    found = read_back(first, bodies)
    assert [one.value for one in found] == bodies
    assert [index_of(one.headers) for one in found] == list(range(first, first + len(bodies)))
    assert all(len(one.headers) == 1 and one.key is None for one in found[:-1])
    last = dict(found[-1].headers)
    tree = compact_range.decode(last[COMPACT_RANGE] or b"")
    assert tree == CompactRange().extend(map(leaf_hash, bodies))
    assert (last[COVERED], last[READ]) == (b"{}", b"[]")


def test_many_records_are_several_batches_that_a_topic_takes() -> None:
    bodies = [b"%1000d" % number for number in range(3_000)]
    tree = CompactRange().extend(map(leaf_hash, bodies))
    batches = encode_records(0, bodies, tree, b"{}", b"[]")
    assert len(batches) > 1
    assert all(len(one.body) < 1 << 20 for one in batches)
    assert [one.value for one in read_back(0, bodies)] == bodies


def test_record_without_its_place_is_refused() -> None:
    for wrong in ([], [(log_records.LOG_INDEX, b"07")], [(log_records.LOG_INDEX, None)]):
        with pytest.raises(EvidenceMalformed):
            index_of(wrong)
