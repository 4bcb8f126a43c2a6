import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.signing import new_key
from chimera.schemas.transparency import checkpoints, cosignatures
from chimera.schemas.transparency.verifier_keys import Algorithm, VerifierKey, decode
from tests.schemas.transparency.logs import vectors

TEXT = vectors("c2sp")["key"]
RFC8032 = vectors("rfc8032")["vectors"]


def test_key_of_the_specification_is_read_and_written_as_there() -> None:
    key = decode(TEXT)
    assert (key.name, key.algorithm) == ("example.com/foo", Algorithm.NOTE)
    assert key.key_id.hex() == "530d903a"
    assert key.text == TEXT


@pytest.mark.parametrize("vector", RFC8032)
def test_signature_of_the_rfc_verifies(vector: dict[str, str]) -> None:
    public, message, signature = (
        bytes.fromhex(vector[name]) for name in ("public", "message", "signature")
    )
    key = VerifierKey("example.com/rfc", Algorithm.NOTE, public)
    assert key.verifies(message, signature)
    assert not key.verifies(message + b"!", signature)
    assert not key.verifies(message, signature[:-1])
    assert not key.verifies(message, b"")


def test_one_pair_of_keys_in_two_roles_is_two_keys() -> None:
    pair = new_key()
    log, witness = checkpoints.log_key("a", pair), cosignatures.witness_key("a", pair)
    assert log.key_id != witness.key_id
    assert log.key_id != checkpoints.log_key("b", pair).key_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "++",
        TEXT[:-1],
        TEXT + "\n",
        TEXT.replace("foo", "bar"),
        TEXT.replace("foo", "f oo"),
        TEXT.replace("530d903a", "530D903A"),
        TEXT.replace("530d903a", "530d903b"),
        TEXT.replace("530d903a", "530d903a0"),
        TEXT.replace("+Aeky", "+Beky"),
        "a+00000000+",
        "a+00000000+AQ==",
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(EvidenceMalformed, match="key"):
        decode(text)


@given(st.text(max_size=100) | st.text("+Aa0=/ \n").map(lambda text: TEXT[:20] + text))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(EvidenceMalformed, match="key"):
        decode(text)
