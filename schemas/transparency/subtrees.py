"""Roots of a log's larger subtrees, kept beside its leaves, so that a proof needs few rows.

    tile      256 neighbouring leaves, the first at a multiple of 256
    subtree   a tile, or 2, 4, 8 ... of them; it is whole with its last leaf, and is kept beside that

The ranges that prove a leaf (RFC 6962, 2.1.1) are cut into subtrees that are kept, and leaves of two
tiles: the leaf's own, and the one in which the log ends. Nothing kept is believed: what comes out
has to lead to a signed root. `tests/schemas/transparency/test_subtrees.py` compares it with whole trees.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from chimera.schemas.transparency.merkle import (
    MAX_SIZE,
    Range,
    inclusion_ranges,
    node_hash,
    root,
)

TILE = 256  # leaves: a proof hashes two tiles at most, and a kept root costs an eighth of a byte a leaf
_TILE_HEIGHT = TILE.bit_length() - 1


class Place(NamedTuple):
    """Where a subtree's root is kept."""

    last: int  # its last leaf
    number: int  # beside that leaf: 0 is its tile's, 1 that of two tiles ...

    @property
    def range(self) -> Range:
        return self.last + 1 - (TILE << self.number), self.last + 1


class Subtrees:
    """Of a log that grows; `append` tells what is to be kept."""

    def __init__(self, tiles: int = 0, peaks: Sequence[bytes] = (), tail: Sequence[bytes] = ()):
        """Whole tiles, the subtrees that cover them (`peaks`), and the leaf hashes since then."""
        self._tiles, self._peaks, self._tail = tiles, list(peaks), list(tail)

    @property
    def size(self) -> int:
        """Leaves."""
        return self._tiles * TILE + len(self._tail)

    def append(self, leaf_hash: bytes) -> Sequence[bytes]:
        """The roots of the subtrees that end with this leaf, from its tile's upwards."""
        self._tail.append(leaf_hash)
        if len(self._tail) < TILE:
            return ()
        found, number = [root(self._tail)], self._tiles
        while number & 1:
            found.append(node_hash(self._peaks.pop(), found[-1]))
            number >>= 1
        self._peaks.append(found[-1])
        self._tail.clear()
        self._tiles += 1
        return found


class Wanted(NamedTuple):
    """What a path is made of."""

    places: Sequence[Place]
    leaves: Sequence[Range]  # one or two tiles, or what there is of them


def peaks(size: int) -> list[Place]:
    """Of the whole tiles of a log, from the left."""
    return [place for place in _cut(0, size - size % TILE) if isinstance(place, Place)]


def wanted(index: int, size: int) -> Wanted:
    """For the path of a leaf in the tree of `size`."""
    first = index - index % TILE
    spans = dict.fromkeys([(first, min(first + TILE, size))])
    pieces = [piece for one in inclusion_ranges(index, size) for piece in _cut(*one)]
    if any(not isinstance(one, Place) and one[0] >= first + TILE for one in pieces):
        spans[size - size % TILE, size] = None
    return Wanted([one for one in pieces if isinstance(one, Place)], list(spans))


def path(
    index: int, size: int, kept: Mapping[Place, bytes], leaf_hashes: Mapping[int, bytes]
) -> list[bytes]:
    """RFC 6962, 2.1.1, out of what was `wanted`."""
    found: list[bytes] = []
    for one in inclusion_ranges(index, size):
        roots = [
            kept[piece]
            if isinstance(piece, Place)
            else root([leaf_hashes[at] for at in range(*piece)])
            for piece in _cut(*one)
        ]
        whole = roots.pop()
        while roots:
            whole = node_hash(roots.pop(), whole)
        found.append(whole)
    return found


def _cut(first: int, end: int) -> Iterator[Place | Range]:
    """A range of a tree into subtrees from the left, each at most as large as the one before.

    What is smaller than a tile stays in one piece.
    """
    while end - first >= TILE:
        width = 1 << (end - first).bit_length() - 1
        width = min(width, first & -first or MAX_SIZE)
        first += width
        yield Place(first - 1, width.bit_length() - 1 - _TILE_HEIGHT)
    if first < end:
        yield first, end
