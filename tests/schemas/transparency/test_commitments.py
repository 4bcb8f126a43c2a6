import pickle

import pytest

from chimera.schemas.transparency.commitments import CommitmentKey

KEY = CommitmentKey(bytes(range(32)))


def test_commitments_never_change() -> None:
    """As `openssl dgst -sha256 -mac hmac` computes them."""
    assert KEY.key_id == "67b2a735d891493f9dfc9c39d3c84a4d"
    assert (
        KEY.commit("input", b"{}")
        == "3874983ce526a9ebd49f915da746a61f683194d09c72a518ae9c21b08d1e9015"
    )


def test_commitment_is_of_its_content_alone() -> None:
    found = KEY.commit("input", b"{}")
    assert KEY.is_of(found, "input", b"{}")
    assert not KEY.is_of(found, "output", b"{}")
    assert not KEY.is_of(found, "input", b"{ }")
    assert not KEY.is_of("é", "input", b"{}")
    assert not CommitmentKey(bytes(32)).is_of(found, "input", b"{}")


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_secret_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        CommitmentKey(bytes(length))


def test_secret_is_in_no_text_and_in_no_pickle() -> None:
    assert bytes(range(32)).hex() not in repr(KEY)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(KEY)
