"""Public keys of logs and witnesses, as text: C2SP signed-note's verifier keys (vkeys).

    <name>+<key id, 8 hexadecimal digits>+<base64 of algorithm and public key>

A key's id is the start of the SHA-256 of its name, a line break, the algorithm and the key, so that
one pair of keys under two names is two keys. `tests/schemas/transparency/test_verifier_keys.py` has
the specification's own example.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency.notes import (
    KEY_ID_BYTES,
    Signature,
    decode_base64,
    encode_base64,
    is_key_name,
)

_KEY_ID = re.compile(r"[0-9a-f]{8}")
_PUBLIC_BYTES = 32


class Algorithm(IntEnum):
    """C2SP's byte for what is signed, and how; both are RFC 8032's Ed25519."""

    NOTE = 1  # the note's text: a log's own signature
    COSIGNATURE = 4  # the text and the time: a witness's


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Who may be believed; `public` is the key's 32 bytes."""

    name: str
    algorithm: Algorithm
    public: bytes

    @property
    def key_id(self) -> bytes:
        named = f"{self.name}\n".encode()
        return hashlib.sha256(named + self._encoded).digest()[:KEY_ID_BYTES]

    @property
    def text(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(self._encoded)}"

    @property
    def _encoded(self) -> bytes:
        return bytes([self.algorithm]) + self.public

    def is_of(self, signature: Signature) -> bool:
        """Whether a signature says that it is this key's."""
        return signature.name == self.name and signature.key_id == self.key_id

    def verifies(self, message: bytes, raw: bytes) -> bool:
        """Whether these 64 bytes are this key's signature of the message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(raw, message)
        except InvalidSignature:
            return False
        return True


def decode(text: str) -> VerifierKey:
    """Read a verifier key.

    Raises:
        EvidenceMalformed: it is none, or of an algorithm that is not known here.
    """
    name, key_id, encoded = (*text.split("+", 2), "", "")[:3]
    if not is_key_name(name) or not _KEY_ID.fullmatch(key_id):
        raise EvidenceMalformed(f"key {text!r}: is no <name>+<key id>+<base64>")
    raw = decode_base64(encoded, f"key {name}")
    if raw[:1] not in (b"\1", b"\4") or len(raw) != 1 + _PUBLIC_BYTES:
        raise EvidenceMalformed(f"key {name}: is not of Ed25519, for notes or for cosignatures")
    key = VerifierKey(name, Algorithm(raw[0]), raw[1:])
    if key.key_id.hex() != key_id:
        raise EvidenceMalformed(f"key {name}: its id is {key.key_id.hex()}, not {key_id}")
    return key
