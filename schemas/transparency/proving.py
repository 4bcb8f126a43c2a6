"""Proofs out of what is at hand: some leaves, and compact ranges, rather than a whole tree.

Whoever holds the range of the first `old` leaves and the leaves since then can prove that the log
only grew; whoever reads the log once can prove a leaf, and holds no more than one path of hashes.
`tests/schemas/transparency/test_proving.py` compares both with proofs of whole trees.
"""

from collections.abc import Iterable, Sequence

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency.compact_range import CompactRange
from chimera.schemas.transparency.merkle import (
    Range,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    root,
)

_FLUSH = 4_096  # hashes that wait for their tree


def prove_extension(before: CompactRange, leaf_hashes: Sequence[bytes]) -> list[bytes]:
    """That the tree with these leaves behind those of `before` extends it."""
    old, new = before.size, before.size + len(leaf_hashes)
    known = _subtrees(before)
    return [
        known[first, end] if end <= old else root(leaf_hashes[first - old : end - old])
        for first, end in consistency_ranges(old, new)
    ]


def prove_leaf(bodies: Iterable[bytes], index: int, size: int) -> tuple[bytes, list[bytes]]:
    """A leaf's bytes, and that it is in the tree of `size`; `bodies` are read once, from the first.

    Raises:
        EvidenceMalformed: there are fewer leaves than that.
    """
    ranges = inclusion_ranges(index, size)
    roots: dict[Range, bytes] = {}
    left, body = iter(bodies), b""
    for first, end in sorted([*ranges, (index, index + 1)]):
        tree, waiting = CompactRange(), list[bytes]()
        for _ in range(first, end):
            found = next(left, None)
            if found is None:
                raise EvidenceMalformed(f"leaf {index}: the log has fewer than {size} leaves")
            waiting.append(leaf_hash(found))
            if len(waiting) == _FLUSH:
                tree = tree.extend(waiting)
                waiting.clear()
            if first == index:
                body = found
        roots[first, end] = tree.extend(waiting).root()
    return body, [roots[one] for one in ranges]


def _subtrees(tree: CompactRange) -> dict[Range, bytes]:
    """Its hashes, by the leaves that they are of."""
    found: dict[Range, bytes] = {}
    first = 0
    for hashed in tree.hashes:
        width = 1 << (tree.size - first).bit_length() - 1
        found[first, first + width] = hashed
        first += width
    return found
