"""What a sequencer goes on from: read as it was written, or refused with its reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency.positions import Position, decode_positions, encode_positions

POSITIONS = st.dictionaries(st.text(), st.builds(Position, st.text(), st.integers(0, 2**63 - 1)))


def test_positions_are_written_in_order_of_their_partitions() -> None:
    found = {"b:0": Position("id", 7), "a:1": Position("", 0)}
    assert encode_positions(found) == b'{"a:1":["",0],"b:0":["id",7]}'


@given(POSITIONS)
def test_positions_are_read_as_they_were_written(found: dict[str, Position]) -> None:
    assert decode_positions(encode_positions(found)) == found


@given(st.binary(max_size=40))
def test_what_is_none_is_refused(raw: bytes) -> None:
    try:
        assert isinstance(decode_positions(raw), dict)
    except EvidenceMalformed:
        return


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"a:0":7}', b'{"a:0":["id"]}', b'{"a:0":[1,"id"]}'])
def test_positions_that_are_none_say_so(raw: bytes) -> None:
    with pytest.raises(EvidenceMalformed, match="how far was read"):
        decode_positions(raw)
