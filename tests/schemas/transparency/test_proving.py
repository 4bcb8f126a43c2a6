"""Proofs out of parts are the proofs of whole trees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency.compact_range import CompactRange
from chimera.schemas.transparency.merkle import leaf_hash, prove_consistency, prove_inclusion
from chimera.schemas.transparency.proving import prove_extension, prove_leaf

BODIES = [b"%d" % number for number in range(70)]
HASHES = [leaf_hash(body) for body in BODIES]


@given(st.integers(1, 70), st.integers(0, 70))
def test_extension_is_proved_as_by_a_whole_tree(old: int, more: int) -> None:
    new = min(70, old + more)
    before = CompactRange().extend(HASHES[:old])
    assert prove_extension(before, HASHES[old:new]) == prove_consistency(HASHES[:new], old)


@given(st.integers(1, 70), st.data())
def test_leaf_is_proved_as_by_a_whole_tree(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    body, proof = prove_leaf(BODIES, index, size)
    assert (body, proof) == (BODIES[index], prove_inclusion(HASHES[:size], index))


def test_leaf_of_a_log_that_is_shorter_is_not_proved() -> None:
    with pytest.raises(EvidenceMalformed):
        prove_leaf(BODIES, 3, 71)
