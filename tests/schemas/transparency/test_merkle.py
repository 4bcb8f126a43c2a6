"""The tree: known roots, the recursive definitions of the RFC, and proofs that are none."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import ProofInvalid
from chimera.schemas.transparency.merkle import (
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    root,
    verify_consistency,
    verify_inclusion,
)
from tests.schemas.transparency.logs import vectors

KNOWN = vectors("rfc6962")
LEAVES = [leaf_hash(bytes.fromhex(leaf)) for leaf in KNOWN["leaves"]]
MANY = [leaf_hash(str(number).encode()) for number in range(70)]
SIZES = range(1, 40)


@pytest.mark.parametrize("size", range(9))
def test_root_is_the_known_one(size: int) -> None:
    assert root(LEAVES[:size]).hex() == KNOWN["roots"][size]


def as_defined(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word by word."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256().digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(as_defined(leaves[:split]), as_defined(leaves[split:]))


@pytest.mark.parametrize("size", range(70))
def test_root_is_as_the_rfc_defines_it(size: int) -> None:
    assert root(MANY[:size]) == as_defined(MANY[:size])


def test_leaf_and_node_of_the_same_bytes_differ() -> None:
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != node_hash(LEAVES[0], LEAVES[1])


@pytest.mark.parametrize("size", SIZES)
def test_every_leaf_of_every_tree_is_proved(size: int) -> None:
    for index in range(size):
        proof = prove_inclusion(MANY[:size], index)
        verify_inclusion(MANY[index], index, proof, size=size, root=root(MANY[:size]))


@pytest.mark.parametrize("new", SIZES)
def test_every_tree_is_proved_to_extend_each_smaller(new: int) -> None:
    for old in range(new + 1):
        proof = prove_consistency(MANY[:new], old)
        verify_consistency(old, new, proof, old_root=root(MANY[:old]), new_root=root(MANY[:new]))


@given(st.integers(1, 2**63 - 1), st.data())
def test_ranges_of_a_proof_are_the_whole_tree_but_for_the_leaf(
    size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    ranges = sorted([*inclusion_ranges(index, size), (index, index + 1)])
    assert ranges[0][0] == 0
    assert ranges[-1][1] == size
    assert all(left[1] == right[0] for left, right in pairwise(ranges))
    assert len(ranges) <= 64
    old = data.draw(st.integers(0, size))
    assert len(consistency_ranges(old, size)) <= 64


def altered(proof: list[bytes], data: st.DataObject) -> list[bytes]:
    """A proof after some accident; never the same."""
    at = data.draw(st.integers(0, len(proof)))
    match data.draw(st.sampled_from(["more", "less", "swap", "flip"])):
        case "less" if at < len(proof):
            return proof[:at] + proof[at + 1 :]
        case "swap" if at + 1 < len(proof):
            return [*proof[:at], proof[at + 1], proof[at], *proof[at + 2 :]]
        case "flip" if at < len(proof):
            bit = data.draw(st.integers(0, 255))
            flipped = int.from_bytes(proof[at], "big") ^ (1 << bit)
            return [*proof[:at], flipped.to_bytes(32, "big"), *proof[at + 1 :]]
        case _:
            return [*proof[:at], bytes(32), *proof[at:]]


@given(st.integers(1, 70), st.data())
def test_inclusion_proof_that_is_altered_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = altered(prove_inclusion(MANY[:size], index), data)
    with pytest.raises(ProofInvalid):
        verify_inclusion(MANY[index], index, proof, size=size, root=root(MANY[:size]))


@given(st.integers(2, 70), st.data())
def test_inclusion_proof_of_another_leaf_index_or_root_is_refused(
    size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof, tree = prove_inclusion(MANY[:size], index), root(MANY[:size])
    other = data.draw(st.integers(-1, 70).filter(lambda one: one != index))
    with pytest.raises(ProofInvalid):
        verify_inclusion(MANY[index], other, proof, size=size, root=tree)
    with pytest.raises(ProofInvalid):
        verify_inclusion(bytes(32), index, proof, size=size, root=tree)
    with pytest.raises(ProofInvalid):
        verify_inclusion(MANY[index], index, proof, size=size, root=bytes(32))


@given(st.integers(2, 70), st.data())
def test_consistency_proof_that_is_altered_is_refused(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new - 1))
    old_root, new_root = root(MANY[:old]), root(MANY[:new])
    proof = prove_consistency(MANY[:new], old)
    with pytest.raises(ProofInvalid):
        verify_consistency(old, new, altered(proof, data), old_root=old_root, new_root=new_root)
    with pytest.raises(ProofInvalid):
        verify_consistency(old, new, proof, old_root=bytes(32), new_root=new_root)
    with pytest.raises(ProofInvalid):
        verify_consistency(old, new, proof, old_root=old_root, new_root=bytes(32))


def test_proof_that_leads_to_its_root_too_soon_or_too_late_is_refused() -> None:
    """As a log could sign it that lies about its size."""
    one, other = MANY[:2]
    with pytest.raises(ProofInvalid, match="too short"):
        verify_inclusion(one, 0, [], size=4, root=one)
    with pytest.raises(ProofInvalid, match="too long"):
        verify_inclusion(one, 0, [other], size=1, root=node_hash(other, one))
    with pytest.raises(ProofInvalid, match="too short"):
        verify_consistency(1, 4, [], old_root=one, new_root=one)
    with pytest.raises(ProofInvalid, match="too short"):
        verify_consistency(3, 4, [], old_root=one, new_root=one)
    with pytest.raises(ProofInvalid, match="too long"):
        verify_consistency(1, 2, [other, other], old_root=one, new_root=root(MANY[:2]))


def test_trees_that_need_no_proof_take_none() -> None:
    for old, new in [(0, 5), (5, 5)]:
        roots = {"old_root": root(MANY[:old]), "new_root": root(MANY[:new])}
        verify_consistency(old, new, [], **roots)
        with pytest.raises(ProofInvalid, match="nothing to prove"):
            verify_consistency(old, new, [bytes(32)], **roots)
    with pytest.raises(ProofInvalid, match="two different roots"):
        verify_consistency(5, 5, [], old_root=bytes(32), new_root=root(MANY[:5]))
    with pytest.raises(ProofInvalid, match="empty tree"):
        verify_consistency(0, 5, [], old_root=bytes(32), new_root=root(MANY[:5]))


def test_tree_that_shrinks_is_refused() -> None:
    with pytest.raises(ProofInvalid, match="does not extend"):
        verify_consistency(6, 5, [], old_root=root(MANY[:6]), new_root=root(MANY[:5]))


@given(
    st.integers(-1, 2**64),
    st.integers(-1, 2**64),
    st.lists(st.binary(min_size=32, max_size=32), max_size=70),
)
def test_any_proof_is_refused_and_ends(index: int, size: int, proof: list[bytes]) -> None:
    with pytest.raises(ProofInvalid):
        verify_inclusion(MANY[0], index, proof, size=size, root=b"no root")
    if index != 0 and index != size:
        with pytest.raises(ProofInvalid):
            verify_consistency(index, size, proof, old_root=MANY[0], new_root=b"no root")


def test_proof_of_no_leaf_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="no leaf 3"):
        inclusion_ranges(3, 3)
    with pytest.raises(ValueError, match="does not extend"):
        consistency_ranges(4, 3)
