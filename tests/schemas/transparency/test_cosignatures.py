"""Cosignatures: the specification's example, and what is not one."""

import pytest

from chimera.schemas.errors import EvidenceMalformed, EvidenceUntrusted
from chimera.schemas.transparency import checkpoints, notes
from chimera.schemas.transparency.cosignatures import (
    MAX_TIME_S,
    cosign,
    cosigned_at,
    gathered,
    moment,
    witness_key,
)
from chimera.schemas.transparency.notes import Note, Signature
from tests.schemas.transparency.logs import AT_S, KEY, WITNESSES, make_log, vectors

NOTE = make_log(3).note(3, "w1")
W1 = witness_key("w1", WITNESSES["w1"])


def test_time_of_the_specifications_example_is_read() -> None:
    """The specification does not give this witness's key; its format is what is compared."""
    known = vectors("c2sp")
    line = notes.decode(known["cosigned"].encode()).signatures[1]
    assert line.name == "witness.example.com/w1"
    assert len(line.raw) == 8 + 64
    assert int.from_bytes(line.raw[:8], "big") == known["cosigned_at_s"]


def test_what_is_signed_is_the_specifications_message() -> None:
    head = make_log(3).head(3)
    message = f"cosignature/v1\ntime 7\n{head.origin}\n3\n{head.text.splitlines()[2]}\n"
    line = cosign(head.text, "w1", WITNESSES["w1"], at_s=7)
    assert line.raw == (7).to_bytes(8, "big") + WITNESSES["w1"].sign_bytes(message.encode())


def test_time_of_a_witness_is_found_and_that_of_a_stranger_is_not() -> None:
    assert cosigned_at(NOTE, W1) == AT_S
    assert cosigned_at(NOTE, witness_key("w2", WITNESSES["w2"])) is None
    assert cosigned_at(NOTE, witness_key("w1", WITNESSES["w2"])) is None


def test_logs_own_signature_is_no_cosignature() -> None:
    assert cosigned_at(NOTE, witness_key(NOTE.signatures[0].name, KEY)) is None


def test_last_of_several_times_counts() -> None:
    again = cosign(NOTE.text, "w1", WITNESSES["w1"], at_s=AT_S + 9)
    assert cosigned_at(Note(NOTE.text, (again, *NOTE.signatures)), W1) == AT_S + 9


def spoilt(raw: bytes) -> Note:
    return Note(NOTE.text, (Signature("w1", W1.key_id, raw),))


@pytest.mark.parametrize("length", [1, 8, 71, 73])
def test_cosignature_of_another_length_is_refused(length: int) -> None:
    raw = (NOTE.signatures[1].raw + b"\0")[:length]
    with pytest.raises(EvidenceUntrusted, match="w1"):
        cosigned_at(spoilt(raw), W1)


def test_cosignature_at_another_time_or_of_another_checkpoint_is_refused() -> None:
    raw = NOTE.signatures[1].raw
    with pytest.raises(EvidenceUntrusted, match="w1"):
        cosigned_at(spoilt((AT_S + 1).to_bytes(8, "big") + raw[8:]), W1)
    with pytest.raises(EvidenceUntrusted, match="w1"):
        cosigned_at(spoilt(b"\xff" * 8 + raw[8:]), W1)
    with pytest.raises(EvidenceUntrusted, match="w1"):
        cosigned_at(spoilt(make_log(2).note(2, "w1").signatures[1].raw), W1)


def test_time_past_63_bits_is_refused() -> None:
    line = cosign(NOTE.text, "w1", WITNESSES["w1"], at_s=2**63)
    with pytest.raises(EvidenceUntrusted, match="w1"):
        cosigned_at(spoilt(line.raw), W1)
    assert cosigned_at(spoilt(cosign(NOTE.text, "w1", WITNESSES["w1"], at_s=2**63 - 1).raw), W1)


def test_answer_of_a_witness_is_put_under_the_checkpoint() -> None:
    alone = make_log(3).note(3)
    stranger = cosign(NOTE.text, "x", KEY, at_s=AT_S)
    answer = f"{NOTE.signatures[1].line}{stranger.line}".encode()
    assert gathered(alone, answer, [W1]) == NOTE


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", EvidenceMalformed),
        (b"\xff\n", EvidenceMalformed),
        (b"not known here\n", EvidenceMalformed),
        (cosign(NOTE.text, "x", KEY, at_s=AT_S).line.encode(), EvidenceUntrusted),
        (make_log(2).note(2, "w1").signatures[1].line.encode(), EvidenceUntrusted),
    ],
)
def test_answer_without_a_cosignature_of_the_checkpoint_is_refused(
    answer: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        gathered(make_log(3).note(3), answer, [W1])


def test_cosignature_does_not_pass_for_a_logs_signature() -> None:
    """One pair of keys in both roles: the message tells them apart, and so does the key's id."""
    line = cosign(NOTE.text, "w1", KEY, at_s=AT_S)
    log = checkpoints.log_key("w1", KEY)
    forged = Note(NOTE.text, (Signature("w1", log.key_id, line.raw[8:]),))
    with pytest.raises(EvidenceUntrusted):
        checkpoints.signers_of(forged, [log])


@pytest.mark.parametrize(
    ("at_s", "told"),
    [(AT_S, "2025-11-21 09:30:16 UTC"), (MAX_TIME_S, "9223372036854775807 s after 1970")],
)
def test_any_time_can_be_told(at_s: int, told: str) -> None:
    assert moment(at_s) == told
