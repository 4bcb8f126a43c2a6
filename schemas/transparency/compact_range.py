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
        size, stack, sha256 = self.size, list(self.hashes), hashlib.sha256
        for found in leaf_hashes:
            carry = size
            while carry & 1:
                found = sha256(b"\1" + stack.pop() + found).digest()
                carry >>= 1
            stack.append(found)
            size += 1
        if size > MAX_SIZE:
            raise ValueError(f"a log has at most {MAX_SIZE} leaves")
        return CompactRange(size, tuple(stack))

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
