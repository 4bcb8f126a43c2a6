"""Checkpoints: their text, who signed, and files of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import EvidenceMalformed, EvidenceUntrusted
from chimera.schemas.transparency import notes
from chimera.schemas.transparency.checkpoints import (
    Checkpoint,
    decode,
    join,
    log_key,
    sign,
    signers_of,
    split,
)
from chimera.schemas.transparency.merkle import MAX_SIZE
from chimera.schemas.transparency.notes import Note
from tests.schemas.transparency.logs import KEY, ORIGIN, OTHER_KEY, make_log, vectors

HEAD = make_log(3).head(3)
TEXT = HEAD.text


def test_checkpoint_of_the_specification_is_read_and_written_as_there() -> None:
    note = notes.decode(vectors("c2sp")["cosigned"].encode())
    head = decode(note.text)
    assert (head.origin, head.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert head.text == note.text


def test_lines_of_others_are_kept() -> None:
    head = Checkpoint("o", 0, bytes(32), ("one", "two"))
    assert decode(head.text) == head


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        TEXT[:-1],
        TEXT + "\n",
        "\n" + TEXT,
        TEXT.replace("\n3\n", "\n\n3\n"),
        TEXT.replace("\n3\n", "\n03\n"),
        TEXT.replace("\n3\n", "\n-3\n"),
        TEXT.replace("\n3\n", "\n+3\n"),
        TEXT.replace("\n3\n", "\n 3\n"),
        TEXT.replace("\n3\n", "\n3_0\n"),
        TEXT.replace("\n3\n", "\n\u0663\n"),  # a three, but not of ASCII
        TEXT.replace("\n3\n", f"\n{MAX_SIZE + 1}\n"),
        TEXT.replace("\n3\n", "\n" + "9" * 5_000 + "\n"),
        TEXT.replace("=\n", "\n"),
        "o\n1\nAAAA\n",
        f"o\n1\n{'A' * 44}\n",
    ],
)
def test_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(EvidenceMalformed, match="checkpoint"):
        decode(text)


@given(st.text(max_size=80))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(EvidenceMalformed, match="checkpoint"):
        decode(text)


@given(
    st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32), min_size=1),
    st.integers(0, MAX_SIZE),
    st.binary(min_size=32, max_size=32),
)
def test_checkpoint_survives_a_round_trip(origin: str, size: int, root: bytes) -> None:
    head = Checkpoint(origin, size, root)
    note = notes.decode(sign(head, KEY).encode()) if notes.is_key_name(origin) else None
    assert decode(note.text if note else head.text) == head


def test_signer_is_found_among_strangers() -> None:
    note, stranger = sign(HEAD, KEY), sign(HEAD, OTHER_KEY)
    both = Note(note.text, (*stranger.signatures, *note.signatures))
    ours, others = log_key(ORIGIN, KEY), log_key(ORIGIN, OTHER_KEY)
    assert signers_of(both, [ours]) == [ours]
    assert signers_of(both, [ours, others]) == [ours, others]
    with pytest.raises(EvidenceUntrusted, match="no trusted key"):
        signers_of(stranger, [ours])


def test_wrong_signature_of_a_known_key_spoils_the_note() -> None:
    note, other = sign(HEAD, KEY), sign(make_log(2).head(2), KEY)
    spoilt = Note(note.text, (*note.signatures, *other.signatures))
    with pytest.raises(EvidenceUntrusted, match="not over this note"):
        signers_of(spoilt, [log_key(ORIGIN, KEY)])


def test_file_of_checkpoints_is_split_as_it_was_joined() -> None:
    signed = [make_log(size).checkpoint(size, "w1") for size in range(4)]
    assert split(join(signed)) == signed
    assert split(b"") == []


@pytest.mark.parametrize("cut", [1, 2, 10, 150, 200])
def test_file_of_checkpoints_that_is_cut_is_refused(cut: int) -> None:
    whole = join(make_log(size).checkpoint(size) for size in (1, 2))
    with pytest.raises(EvidenceMalformed, match="cut"):
        split(whole[:-cut])


@given(st.binary(max_size=60) | st.text("a\n", max_size=20).map(str.encode))
def test_any_file_is_split_or_refused(raw: bytes) -> None:
    try:
        assert join(split(raw)) == raw
    except EvidenceMalformed as error:
        assert "checkpoints" in str(error)
