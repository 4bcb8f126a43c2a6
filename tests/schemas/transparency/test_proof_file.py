"""A proof of one request: good, altered in every byte, of another leaf, and whatever is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import (
    EvidenceMalformed,
    EvidenceRefused,
    EvidenceUntrusted,
    ProofInvalid,
)
from chimera.schemas.transparency.merkle import prove_inclusion
from chimera.schemas.transparency.notes import encode_base64
from chimera.schemas.transparency.proof_file import Proof, decode
from tests.schemas.transparency.logs import make_log, make_policy

LOG = make_log(11)
POLICY = make_policy(3)


def proof_of(index: int, size: int = 11) -> Proof:
    hashes = prove_inclusion(LOG.leaf_hashes[:size], index)
    note = LOG.checkpoint(size, "w1", "w2", "w3")
    return Proof(LOG.bodies[index], index, tuple(hashes), note)


RAW = proof_of(6).encode()


@pytest.mark.parametrize("size", [1, 7, 8, 11])
def test_every_leaf_is_proved_by_its_file(size: int) -> None:
    for index in range(size):
        proof = decode(proof_of(index, size).encode())
        assert proof == proof_of(index, size)
        assert proof.verify(POLICY).checkpoint == LOG.head(size)


def test_file_is_as_the_specification_says() -> None:
    lines = RAW.decode().split("\n")
    assert lines[:3] == [
        "c2sp.org/tlog-proof@v1",
        f"extra {encode_base64(LOG.bodies[6])}",
        "index 6",
    ]
    assert lines[3] == encode_base64(LOG.leaf_hashes[7])
    assert RAW.endswith(b"\n\n" + LOG.checkpoint(11, "w1", "w2", "w3"))


def accepted(raw: bytes) -> bool:
    try:
        decode(raw).verify(POLICY)
    except EvidenceRefused:
        return False
    return True


@pytest.mark.parametrize("change", [0x01, 0x20, 0x80, 0xFF])
def test_no_byte_of_it_may_be_another(change: int) -> None:
    """All signatures are of keys that the policy knows: else a line could be a stranger's."""
    assert accepted(RAW)
    altered = (RAW[:at] + bytes([RAW[at] ^ change]) + RAW[at + 1 :] for at in range(len(RAW)))
    assert [at for at, raw in enumerate(altered) if accepted(raw)] == []


def test_no_byte_of_it_may_be_missing_or_doubled() -> None:
    for at in range(len(RAW)):
        assert not accepted(RAW[:at] + RAW[at + 1 :])
        assert not accepted(RAW[:at])
        assert not accepted(RAW[: at + 1] + RAW[at:]) or RAW[at : at + 1] * 2 in RAW


def test_proof_of_another_leaf_index_or_checkpoint_is_refused() -> None:
    good = proof_of(6)
    with pytest.raises(ProofInvalid):
        Proof(LOG.bodies[5], 6, good.hashes, good.checkpoint).verify(POLICY)
    with pytest.raises(ProofInvalid):
        Proof(good.body, 5, good.hashes, good.checkpoint).verify(POLICY)
    with pytest.raises(ProofInvalid):
        Proof(good.body, 6, good.hashes, LOG.checkpoint(10, "w1", "w2", "w3")).verify(POLICY)


def test_proof_in_a_checkpoint_with_too_few_witnesses_is_refused() -> None:
    good = proof_of(6)
    with pytest.raises(EvidenceUntrusted, match="quorum"):
        Proof(good.body, 6, good.hashes, LOG.checkpoint(11, "w1", "w2")).verify(POLICY)


HEAD = RAW.partition(b"\n\n")[0]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        RAW.replace(b"@v1", b"@v2"),
        RAW.replace(b"extra ", b"extra"),
        RAW.replace(b"index 6", b"index 06"),
        RAW.replace(b"index 6", b"index -6"),
        RAW.replace(b"\nindex 6", b""),
        b"\n".join(line for line in RAW.split(b"\n") if not line.startswith(b"extra")),
        HEAD,
        HEAD + b"\nAAAA\n\n",
        HEAD + (b"\n" + b"A" * 43 + b"=") * 70 + b"\n\n",
        b"a" * 5_000_000,
    ],
)
def test_what_is_no_proof_is_refused(raw: bytes) -> None:
    with pytest.raises(EvidenceMalformed, match="proof"):
        decode(raw)


@given(st.data())
def test_proof_after_an_accident_is_refused(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(RAW) - 1))
    wrong = RAW[:at] + data.draw(st.binary(max_size=3)) + RAW[at + data.draw(st.integers(0, 3)) :]
    assert not accepted(wrong) or wrong == RAW


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(raw: bytes) -> None:
    for wrong in (raw, HEAD + b"\n" + raw, HEAD + b"\n\n" + raw):
        assert not accepted(wrong)
