"""Hashes, roots and proofs of the audit log's Merkle tree: RFC 6962, 2.1, and RFC 9162, 2.1.

A leaf is hashed as SHA-256(0x00 ‖ bytes) and a node as SHA-256(0x01 ‖ left ‖ right), so that neither
passes for the other. Proofs are made from leaf ranges, whose roots are looked up or computed by
whoever has them, and verified by the iterative algorithms of RFC 9162; a proof that does not lead to
its root raises `ProofInvalid`. `tests/schemas/transparency/test_merkle.py` has the eight known roots.
"""

import hashlib
from collections.abc import Sequence

from chimera.schemas.errors import ProofInvalid

HASH_BYTES = 32
MAX_SIZE = 2**63 - 1  # leaves; sizes and indexes are 64-bit signed wherever they rest
EMPTY_ROOT = hashlib.sha256().digest()

Range = tuple[int, int]  # of leaves: first, and one past the last


def leaf_hash(body: bytes) -> bytes:
    """RFC 6962, 2.1: of the stored bytes, exactly as they are stored."""
    return hashlib.sha256(b"\0" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962, 2.1."""
    return hashlib.sha256(b"\1" + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1: level by level; the odd one at a level's end goes up as it is."""
    if not leaf_hashes:
        return EMPTY_ROOT
    level = list(leaf_hashes)
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [node_hash(left, right) for left, right in pairs] + odd
    return level[0]


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """RFC 6962, 2.1.1: the ranges whose roots prove a leaf, from its sibling to the root's child."""
    if not 0 <= index < size <= MAX_SIZE:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    ranges: list[Range] = []
    first, end = 0, size
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((first, middle))
            first = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """RFC 6962, 2.1.2: the ranges whose roots prove that a tree of `new` leaves extends one of `old`."""
    if not 0 <= old <= new <= MAX_SIZE:
        raise ValueError(f"a tree of {new} does not extend one of {old}")
    ranges: list[Range] = []
    first, end = 0, new
    while 0 < old < end:
        middle = first + _split(end - first)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((first, middle))
            first = middle
    if first > 0:
        ranges.append((first, end))
    return ranges[::-1]


def prove_inclusion(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """That the leaf at `index` is in the tree of these leaves."""
    ranges = inclusion_ranges(index, len(leaf_hashes))
    return [root(leaf_hashes[first:end]) for first, end in ranges]


def prove_consistency(leaf_hashes: Sequence[bytes], old: int) -> list[bytes]:
    """That the tree of these leaves extends that of the first `old` of them."""
    ranges = consistency_ranges(old, len(leaf_hashes))
    return [root(leaf_hashes[first:end]) for first, end in ranges]


def verify_inclusion(
    leaf: bytes, index: int, proof: Sequence[bytes], *, size: int, root: bytes
) -> None:
    """RFC 9162, 2.1.3.2: the leaf with this hash is at `index` of the tree of `size` and `root`.

    Raises:
        ProofInvalid: it is not, or the proof is longer or shorter than it has to be.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofInvalid(f"there is no leaf {index} in a tree of {size}")
    node, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofInvalid(f"the proof of leaf {index} is too long for a tree of {size}")
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ProofInvalid(f"the proof of leaf {index} is too short for a tree of {size}")
    if found != root:
        raise ProofInvalid(f"the proof of leaf {index} does not lead to the root of size {size}")


def verify_consistency(
    old: int, new: int, proof: Sequence[bytes], *, old_root: bytes, new_root: bytes
) -> None:
    """RFC 9162, 2.1.4.2: the tree of `new` leaves extends the tree of `old`.

    Raises:
        ProofInvalid: it does not, or the proof is longer or shorter than it has to be.
    """
    if not 0 <= old <= new <= MAX_SIZE:
        raise ProofInvalid(f"a tree of {new} does not extend one of {old}")
    if old == 0 or old == new:
        _verify_trivial(old, new, proof, old_root, new_root)
        return
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        raise ProofInvalid(f"the proof from size {old} to {new} is too short")
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    found_old = found_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofInvalid(f"the proof from size {old} to {new} is too long")
        if node & 1 or node == last:
            found_old, found_new = node_hash(sibling, found_old), node_hash(sibling, found_new)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            found_new = node_hash(found_new, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ProofInvalid(f"the proof from size {old} to {new} is too short")
    if found_old != old_root or found_new != new_root:
        raise ProofInvalid(f"the proof from size {old} to {new} does not lead to both roots")


def _verify_trivial(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """The empty tree is extended by every tree, and a tree by itself; neither needs a proof."""
    if proof:
        raise ProofInvalid(f"from size {old} to {new} there is nothing to prove")
    if old == 0 and old_root != EMPTY_ROOT:
        raise ProofInvalid("the root of size 0 is not that of the empty tree")
    if old == new and old_root != new_root:
        raise ProofInvalid(f"two different roots of size {new}")


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1
