"""Signatures: the vectors of RFC 8032, what exactly is signed, and what is no signature."""

import base64
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import ConfigurationError, ModelRefused, SignatureInvalid
from chimera.schemas.signing import (
    Kind,
    PublicKey,
    SigningKey,
    Trusted,
    new_key,
    read_private,
    read_public,
)
from tests.schemas.transparency.logs import vectors

VECTORS = [
    tuple(vector[name] for name in ("secret", "public", "message", "signature"))
    for vector in vectors("rfc8032")["vectors"]
]
PKCS8 = bytes.fromhex("302e020100300506032b657004220420")  # RFC 8410, 7: what stands before a seed
KEY = new_key()
TRUSTED = Trusted([KEY.public])


def pem(seed: bytes) -> bytes:
    body = base64.b64encode(PKCS8 + seed)
    return b"-----BEGIN PRIVATE KEY-----\n" + body + b"\n-----END PRIVATE KEY-----\n"


def vector(at: int) -> SigningKey:
    return read_private(pem(bytes.fromhex(VECTORS[at][0])), "vector")


@pytest.mark.parametrize("at", range(3))
def test_private_key_of_the_rfc_has_the_public_key_of_the_rfc(at: int) -> None:
    assert vector(at).public.raw.hex() == VECTORS[at][1]
    assert vector(at).pem() == pem(bytes.fromhex(VECTORS[at][0]))


@pytest.mark.parametrize("at", range(3))
def test_plain_signature_of_the_rfc_is_none_of_a_record(at: int) -> None:
    _, public, message, plain = (bytes.fromhex(part) for part in VECTORS[at])
    Ed25519PublicKey.from_public_bytes(public).verify(plain, message)  # it is one of the bytes
    key = PublicKey(public)
    text = f"ed25519:{key.key_id}:{base64.b64encode(plain).decode()}"
    for kind in Kind:
        with pytest.raises(SignatureInvalid, match="is not over this"):
            Trusted([key]).verify(kind, message, text, "m")


def test_what_is_signed_is_the_context_a_zero_and_the_record() -> None:
    secret = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS[0][0]))
    plain = secret.sign(b"chimera signature v1 manifest\x00" + b"{}")
    expected = f"ed25519:{vector(0).public.key_id}:{base64.b64encode(plain).decode()}"
    assert vector(0).sign(Kind.MANIFEST, b"{}") == expected


def test_texts_never_change() -> None:
    """Stored signatures have to verify for ever."""
    assert vector(0).public.text == "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    assert vector(0).public.key_id == "21fe31dfa154a261626bf854046fd227"
    assert [kind.value for kind in Kind] == ["manifest", "program", "training manifest"]


@given(st.binary(max_size=100), st.sampled_from(Kind))
def test_signature_verifies_over_its_record(record: bytes, kind: Kind) -> None:
    assert TRUSTED.verify(kind, record, KEY.sign(kind, record), "m") == KEY.public


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_signature_of_one_kind_and_record_is_of_no_other(one: bytes, other: bytes) -> None:
    signature = KEY.sign(Kind.MANIFEST, one)
    with pytest.raises(SignatureInvalid):
        TRUSTED.verify(Kind.PROGRAM, one, signature, "m")
    if one != other:
        with pytest.raises(SignatureInvalid):
            TRUSTED.verify(Kind.MANIFEST, other, signature, "m")


@given(st.data())
def test_changed_signature_is_refused(data: st.DataObject) -> None:
    """Also where the change leaves the decoded bytes as they were."""
    text = KEY.sign(Kind.MANIFEST, b"m")
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.characters()) + text[at + 1 :]
    if changed != text:
        with pytest.raises(SignatureInvalid):
            TRUSTED.verify(Kind.MANIFEST, b"m", changed, "m")


@given(st.text(max_size=200))
def test_any_text_is_refused_as_a_signature(text: str) -> None:
    with pytest.raises(SignatureInvalid, match="is no signature"):
        TRUSTED.verify(Kind.MANIFEST, b"m", text, "m")


def test_signature_of_a_stranger_is_refused_by_its_id() -> None:
    stranger = new_key()
    with pytest.raises(SignatureInvalid, match=stranger.public.key_id):
        TRUSTED.verify(Kind.MANIFEST, b"m", stranger.sign(Kind.MANIFEST, b"m"), "m")


def test_signature_with_the_id_of_another_key_is_refused() -> None:
    stranger = new_key()
    forged = stranger.sign(Kind.MANIFEST, b"m").replace(stranger.public.key_id, KEY.public.key_id)
    with pytest.raises(SignatureInvalid, match="is not over this manifest"):
        TRUSTED.verify(Kind.MANIFEST, b"m", forged, "m")


def test_old_and_new_key_are_trusted_while_one_replaces_the_other() -> None:
    new = new_key()
    both = Trusted([KEY.public, new.public])
    assert both.verify(Kind.MANIFEST, b"m", new.sign(Kind.MANIFEST, b"m"), "m") == new.public
    assert both.verify(Kind.MANIFEST, b"m", KEY.sign(Kind.MANIFEST, b"m"), "m") == KEY.public
    with pytest.raises(SignatureInvalid):
        Trusted([new.public]).verify(Kind.MANIFEST, b"m", KEY.sign(Kind.MANIFEST, b"m"), "m")


def test_error_is_a_refusal_of_a_model() -> None:
    assert issubclass(SignatureInvalid, ModelRefused)


def test_private_key_is_in_no_text_and_in_no_pickle() -> None:
    secret = base64.b64encode(bytes.fromhex(VECTORS[0][0])).decode()
    for text in (repr(vector(0)), str(vector(0)), f"{vector(0)}"):
        assert secret not in text
        assert VECTORS[0][0] not in text
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(vector(0))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "no unencrypted private key"),
        (b"open sesame", "no unencrypted private key"),
        (pem(b"short"), "no unencrypted private key"),
        (
            generate_private_key(SECP256R1()).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            ),
            "not of Ed25519",
        ),
    ],
)
def test_what_is_no_private_key_is_refused_without_being_shown(raw: bytes, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        read_private(raw, "the file")
    assert "the file" in str(caught.value)
    assert raw.decode() not in str(caught.value) or not raw


def test_public_key_comes_back_from_its_text() -> None:
    assert read_public(KEY.public.text, "k") == KEY.public


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ed25519:",
        VECTORS[0][1],
        f"{vector(0).public.text}\n",
        vector(0).public.text.replace("ed25519", "rsa"),
        "ed25519:" + "A" * 42 + "B=",  # the same bytes as with an A in the end
    ],
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="k: is no public key"):
        read_public(text, "k")
