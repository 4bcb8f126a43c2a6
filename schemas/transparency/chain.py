"""The hash chain beside the leaves: it locates damage, and proves nothing.

Each row's chain hash is SHA-256(0x02 ‖ the one before ‖ leaf hash), the first one's predecessor 32
zero bytes. Whoever can write rows can write a new chain, so trust comes from checkpoints alone; but
a row that was changed, taken out or put in by itself breaks the chain where it happened.
`tests/schemas/transparency/test_chain.py`.
"""

import hashlib
from collections.abc import Iterable, Iterator

from chimera.schemas.transparency.merkle import HASH_BYTES

START = bytes(HASH_BYTES)  # before the first leaf


def link(previous: bytes, leaf: bytes) -> bytes:
    """The chain hash of a leaf, from that of the leaf before it and its own leaf hash."""
    return hashlib.sha256(b"\2" + previous + leaf).digest()


def links(leaf_hashes: Iterable[bytes], previous: bytes = START) -> Iterator[bytes]:
    """The chain hashes of leaves that follow one another."""
    for leaf in leaf_hashes:
        previous = link(previous, leaf)
        yield previous
