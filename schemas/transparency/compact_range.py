"""All that an append needs of the log so far: the roots of the perfect subtrees that cover it.

A tree of n leaves has as many as n has bits set, so 63 at most; the largest comes first. A leaf is
appended in O(log n), on average by one hash, and the root follows from them alone. The sequencer
writes the range into the header of its last record, and starts again from that header.
transparency-dev/merkle describes it (`docs/compact_ranges.md`);
`tests/schemas/transparency/test_compact_range.py` compares it with whole trees.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, node_hash

_SIZE_BYTES = 8


@dataclass(frozen=True, slots=True)
class CompactRange:
    """Of the first `size` leaves; `hashes` are of their perfect subtrees, from the left."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def extend(self, leaf_hashes: Iterable[bytes]) -> CompactRange:
        """The range after these leaves, in order."""
        level, left, sha256 = list(leaf_hashes), list(self.hashes), hashlib.sha256
        size = self.size + len(level)
        if size > MAX_SIZE:
            raise ValueError(f"a log has at most {MAX_SIZE} leaves")
        whole: list[bytes] = []  # subtrees that have no neighbour on the right yet, from the right
        for height in range(size.bit_length()):
            if self.size >> height & 1:
                level.insert(0, left.pop())
            if len(level) & 1:
                whole.append(level.pop())
            pairs = zip(level[::2], level[1::2], strict=True)
            level = [sha256(b"\1" + one + other).digest() for one, other in pairs]
        return CompactRange(size, tuple(whole[::-1]))

    def root(self) -> bytes:
        if not self.hashes:
            return EMPTY_ROOT
        found = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            found = node_hash(left, found)
        return found

    def encode(self) -> bytes:
        """For a record's header: the size, 8 bytes big-endian, then the hashes."""
        return self.size.to_bytes(_SIZE_BYTES, "big") + b"".join(self.hashes)


def decode(raw: bytes) -> CompactRange:
    """Read a range from a header.

    Raises:
        EvidenceMalformed: it has not the hashes that its size needs.
    """
    size = int.from_bytes(raw[:_SIZE_BYTES], "big")
    if size > MAX_SIZE or len(raw) != _SIZE_BYTES + HASH_BYTES * size.bit_count():
        raise EvidenceMalformed(f"compact range: {len(raw)} bytes are none of size {size}")
    starts = range(_SIZE_BYTES, len(raw), HASH_BYTES)
    return CompactRange(size, tuple(raw[at : at + HASH_BYTES] for at in starts))
