import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import Malformed
from chimera.schemas.journal_rows import TEXT_BYTES
from chimera.schemas.notes import Note, read_note, write_note

U32 = st.integers(0, 2**32 - 1)
COMMITMENT = st.binary(min_size=32, max_size=32)
KEY_ID = st.binary(min_size=16, max_size=16)


@given(U32, U32, st.binary(max_size=20), st.none() | st.tuples(COMMITMENT, COMMITMENT, KEY_ID))
def test_note_comes_back(
    queue_us: int, total_us: int, name: bytes, commitments: tuple[bytes, bytes, bytes] | None
) -> None:
    note = Note(queue_us, total_us, name, *(commitments or ()))
    assert read_note(write_note(note)) == note


def test_note_keeps_what_fits() -> None:
    found = read_note(write_note(Note(2**40, 2**40, b"x" * (TEXT_BYTES + 1))))
    assert found == Note(2**32 - 1, 2**32 - 1, b"x" * TEXT_BYTES)


@pytest.mark.parametrize("raw", [b"", b"12345678", b"12345678\1", b"12345678\1" + bytes(79)])
def test_note_that_is_cut_off_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_note(raw)
