"""Commitments to what a tenant sent and got: HMAC-SHA256 (RFC 2104) under a key of that tenant.

Whoever has the key and the bytes can check a commitment, with any library or `openssl dgst`; nobody
can guess bytes without the key, or find others that fit. When the key is destroyed, commitments say
nothing any more: what they stand for is erased, and the log that holds them stays whole. Equal
bytes of one tenant have equal commitments. A leaf says by `key_id` which key it was: the first 16 bytes of
what the key commits to for a fixed text, which tell nothing of it.

A request of 1.3 kB and its result cost 1.8 us together, of which 0.7 are SHA-256 itself; keyed
BLAKE2b takes as long (1.7; `python -m benchmarks.journal`).
`tests/schemas/test_commitments.py` has the vectors of RFC 4231.
"""

import hashlib

KEY_BYTES = 32
KEY_ID_BYTES = 16
_NAMED = b"chimera commitment key"
_BLOCK = 64  # of SHA-256


class Commitments:
    """Of one tenant."""

    def __init__(self, key: bytes) -> None:
        """Both of HMAC's hashes have taken the key in once, and are copied for each value."""
        padded = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))
        self.key_id = self.of(_NAMED)[:KEY_ID_BYTES]

    def of(self, value: bytes) -> bytes:
        """32 bytes."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(value)
        outer.update(inner.digest())
        return outer.digest()
