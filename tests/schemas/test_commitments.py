import hmac
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.commitments import Commitments

RFC_4231 = [
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
]


@pytest.mark.parametrize(("key", "value", "expected"), RFC_4231)
def test_commitment_is_rfc_4231s(key: bytes, value: bytes, expected: str) -> None:
    assert Commitments(key).of(value).hex() == expected


@given(st.binary(max_size=80), st.lists(st.binary(max_size=200), max_size=4))
def test_commitments_are_hmac_one_after_the_other(key: bytes, values: list[bytes]) -> None:
    expected = [hmac.digest(key, value, "sha256") for value in values]
    commitments = Commitments(key)
    assert [commitments.of(value) for value in values] == expected


def test_key_is_named_by_what_openssl_makes_of_a_text() -> None:
    """The line of docs/audit.md."""
    key = bytes(range(32))
    command = ["openssl", "dgst", "-sha256", "-mac", "hmac", "-macopt", f"hexkey:{key.hex()}"]
    told = subprocess.run(command, input=b"chimera commitment key", capture_output=True, check=True)
    assert Commitments(key).key_id.hex() == told.stdout.split()[-1][:32].decode()
