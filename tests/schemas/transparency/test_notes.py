"""Signed notes: the specification's example, one spelling each, and whatever is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency import verifier_keys
from chimera.schemas.transparency.notes import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Note,
    Signature,
    decode,
    encode_base64,
)
from tests.schemas.transparency.logs import make_log, vectors

EXAMPLE = vectors("c2sp")
NOTE = EXAMPLE["note"].encode()


def test_note_of_the_specification_is_read_and_verifies() -> None:
    note = decode(NOTE)
    assert note.text == "This is an example message.\n"
    key = verifier_keys.decode(EXAMPLE["key"])
    assert key.is_of(note.signatures[0])
    assert key.verifies(note.text.encode(), note.signatures[0].raw)
    assert not key.verifies(b"This is another.\n", note.signatures[0].raw)


def test_note_is_written_as_it_was_read() -> None:
    assert decode(NOTE).encode() == NOTE


def test_text_may_have_empty_lines() -> None:
    note = Note("one\n\n\ntwo\n", decode(NOTE).signatures)
    assert decode(note.encode()) == note


def test_as_many_signatures_as_the_specification_wants_are_read() -> None:
    one = Signature("example.com/é", b"abcd", b"x" * 5_000)
    assert decode(Note("t\n", (one,) * 16).encode()).signatures == (one,) * 16


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"text\n",
        b"text\n\n",
        NOTE[:-1],
        NOTE + b"\n",
        NOTE + b"more\n",
        NOTE.replace(b"\n\n", b"\n"),
        NOTE.replace(b" message", b"\tmessage"),
        NOTE.replace(b" message", b"\r message"),
        NOTE.replace(b" message", b"\xff message"),
        NOTE.replace("—".encode(), b"-"),
        NOTE.replace(b"foo Uw2", b"foo  Uw2"),
        NOTE.replace(b"com/foo", b"com+foo"),
        NOTE.replace(b"com/foo", "com/\u2003foo".encode()),
        NOTE.replace(b"example.com/foo ", b" "),
        NOTE.replace(b"aQM=", b"aQN="),  # the same bytes, spelt otherwise
        NOTE.replace(b"aQM=", b"aQM"),
        NOTE.replace(b"Uw2Q", b"Uw2Q "),
        "t\n\n— a AAAA\n".encode(),
        "t\n\n— a AAAAAA==\n".encode(),
        Note("t\n", (Signature("a", b"abcd", b"x"),) * (MAX_SIGNATURES + 1)).encode(),
        b"a" * (MAX_NOTE_BYTES + 1),
    ],
)
def test_what_is_no_note_is_refused(raw: bytes) -> None:
    with pytest.raises(EvidenceMalformed, match="note"):
        decode(raw)


names = st.text(
    st.characters(exclude_categories=["Cs", "Z", "C"], exclude_characters="+"), min_size=1
)
signatures = st.builds(
    Signature, names, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80)
)
lines = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32))


@given(st.lists(lines, min_size=1), st.lists(signatures, min_size=1, max_size=4))
def test_note_survives_a_round_trip(text: list[str], by: list[Signature]) -> None:
    note = Note("".join(f"{line}\n" for line in text), tuple(by))
    assert decode(note.encode()) == note


@given(st.data())
def test_note_after_an_accident_is_refused_or_is_another(data: st.DataObject) -> None:
    raw = make_log(3).checkpoint(3, "w1")
    at = data.draw(st.integers(0, len(raw) - 1))
    wrong = raw[:at] + data.draw(st.binary(max_size=3)) + raw[at + data.draw(st.integers(0, 3)) :]
    try:
        assert decode(wrong).encode() == wrong
    except EvidenceMalformed as error:
        assert "note" in str(error)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_note_or_refused(raw: bytes) -> None:
    under = "\n\n— a ".encode() + encode_base64(raw).encode() + b"\n"
    for wrong in (raw, raw + under):
        try:
            assert decode(wrong).encode() == wrong
        except EvidenceMalformed as error:
            assert "note" in str(error)
