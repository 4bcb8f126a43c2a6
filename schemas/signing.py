"""Ed25519 signatures over Chimera's own records, as text: who signed what kind of thing.

A signature is over `chimera signature v1 <kind>`, a zero byte and the record's bytes (RFC 8032,
pure Ed25519), so that one of a manifest is never one of anything else. A key is known by its id:
the first 128 bits of the SHA-256 of its 32 public bytes. Texts have one spelling each:

    public key   ed25519:<44 characters of base64>
    signature    ed25519:<key id, 32 hexadecimal digits>:<88 characters of base64>

A private key is PKCS #8 in PEM, as openssl writes it; no text of a `SigningKey` holds it.
`tests/schemas/test_signing.py` has the vectors of RFC 8032.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Never

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from chimera.schemas.errors import ConfigurationError, SignatureInvalid

MAX_TEXT = 256  # characters of a key's or a signature's text, with room
_CONTEXT = "chimera signature v1 "
_PUBLIC = re.compile(r"ed25519:([A-Za-z0-9+/]{43}=)")
_SIGNATURE = re.compile(r"ed25519:([0-9a-f]{32}):([A-Za-z0-9+/]{86}==)")


class Kind(Enum):
    """What a signature is of; its value is signed with the record and never changes."""

    MANIFEST = "manifest"  # the stored bytes of manifest.json
    PROGRAM = "program"  # the 32 bytes of a program's SHA-256: native or exported code made here
    TRAINING = "training manifest"  # RFC 8785 of a run's manifest, its signature left out


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Who may be believed; `raw` is its 32 bytes."""

    raw: bytes

    @property
    def key_id(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()[:32]

    @property
    def text(self) -> str:
        return f"ed25519:{base64.b64encode(self.raw).decode()}"


class SigningKey:
    """A private key. It shows its id, and cannot be pickled or printed."""

    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes_raw())

    def sign(self, kind: Kind, record: bytes) -> str:
        """The signature's text."""
        signature = base64.b64encode(self._key.sign(_signed_bytes(kind, record))).decode()
        return f"ed25519:{self.public.key_id}:{signature}"

    def sign_bytes(self, message: bytes) -> bytes:
        """64 bytes, for forms that tell themselves from all others: C2SP's notes do."""
        return self._key.sign(message)

    def pem(self) -> bytes:
        """The secret itself, unencrypted: for the one file that keeps it."""
        from cryptography.hazmat.primitives import serialization

        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def __repr__(self) -> str:
        return f"<SigningKey {self.public.key_id}>"

    def __reduce__(self) -> Never:
        raise TypeError("a private key is not pickled")


class Trusted:
    """Public keys whose signatures count, by id: several while one replaces another."""

    def __init__(self, keys: Iterable[PublicKey]) -> None:
        self._keys = {key.key_id: key for key in keys}

    def __iter__(self) -> Iterator[PublicKey]:
        return iter(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)

    def verify(self, kind: Kind, record: bytes, signature: str, name: str) -> PublicKey:
        """The key that signed these bytes as this kind of record; `name` is named in errors.

        Raises:
            SignatureInvalid: no signature, one of another key, kind or record.
        """
        found = _SIGNATURE.fullmatch(signature)
        if not found or len(signature) > MAX_TEXT:
            raise SignatureInvalid(f"{name}: is no signature: ed25519:<key id>:<base64>")
        key = self._keys.get(found[1])
        if key is None:
            raise SignatureInvalid(f"{name}: signed by {found[1]}, which is no trusted key")
        raw = _decoded(found[2])
        try:
            if raw is None:
                raise InvalidSignature
            public = Ed25519PublicKey.from_public_bytes(key.raw)
            public.verify(raw, _signed_bytes(kind, record))
        except InvalidSignature:
            raise SignatureInvalid(
                f"{name}: the signature of {key.key_id} is not over this {kind.value}"
            ) from None
        return key


def new_key() -> SigningKey:
    return SigningKey(Ed25519PrivateKey.generate())


def read_private(pem: bytes, name: str) -> SigningKey:
    """A private key from PEM; `name` is named in errors, what it holds is not.

    Raises:
        ConfigurationError: it is no unencrypted PKCS #8 key of Ed25519.
    """
    from cryptography.hazmat.primitives import serialization  # 0.1 s, that verifying need not cost

    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{name}: is no unencrypted private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{name}: is a private key, but not of Ed25519")
    return SigningKey(key)


def read_public(text: str, name: str) -> PublicKey:
    """A public key from its text; `name` is named in errors.

    Raises:
        ConfigurationError: it is none.
    """
    found = _PUBLIC.fullmatch(text)
    raw = _decoded(found[1]) if found else None
    if raw is None:
        raise ConfigurationError(f"{name}: is no public key: ed25519:<44 characters of base64>")
    return PublicKey(raw)


def _signed_bytes(kind: Kind, record: bytes) -> bytes:
    return f"{_CONTEXT}{kind.value}\0".encode() + record


def _decoded(text: str) -> bytes | None:
    """None: the base64 is not the one that an encoder would have written."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return raw if base64.b64encode(raw).decode() == text else None
