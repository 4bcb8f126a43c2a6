"""Keyed commitments: that a leaf is of this input or output, shown only by who holds the key.

HMAC-SHA-256 (RFC 2104) under a key of the tenant's own, over what it is of and the bytes. A bare
hash of an input that can be guessed tells the input; this tells nothing without the key, and
nothing to anybody once the key is destroyed: that erases, and leaves the log as it was. The key's
id stands beside it, so that nobody can claim another key later.
`tests/schemas/transparency/test_commitments.py`.
"""

import hashlib
import hmac
from typing import Literal, Never

KEY_BYTES = 32
What = Literal["input", "output"]


class CommitmentKey:
    """A tenant's secret. It shows its id, and cannot be pickled or printed."""

    __slots__ = ("_secret", "key_id")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:  # shorter ones are padded by HMAC, and so are not unique
            raise ValueError(f"a commitment key has {KEY_BYTES} bytes, not {len(secret)}")
        self._secret = secret
        self.key_id = hashlib.sha256(b"chimera commitment key v1\0" + secret).hexdigest()[:32]

    def commit(self, what: What, content: bytes) -> str:
        """64 hexadecimal digits; the same for the same content, and others for an output."""
        message = f"chimera {what} v1\0".encode() + content
        return hmac.digest(self._secret, message, "sha256").hex()

    def is_of(self, commitment: str, what: What, content: bytes) -> bool:
        """Whether a leaf's commitment is one of this content."""
        return hmac.compare_digest(commitment.encode(), self.commit(what, content).encode())

    def __repr__(self) -> str:
        return f"<CommitmentKey {self.key_id}>"

    def __reduce__(self) -> Never:
        raise TypeError("a commitment key is not pickled")
