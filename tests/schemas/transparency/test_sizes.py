"""A size has one text; whatever else is refused, and says what it should have been."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency.merkle import MAX_SIZE
from chimera.schemas.transparency.sizes import decode_size


@given(st.integers(0, MAX_SIZE))
def test_size_is_its_decimal_text(size: int) -> None:
    assert decode_size(str(size), "a size") == size


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "01", " 1", "1\n", "1_0", "0x1", "1.0", "٣", str(MAX_SIZE + 1), "9" * 99],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(EvidenceMalformed, match="a size: .* is no decimal number"):
        decode_size(text, "a size")


@given(
    st.text(max_size=24)
    | st.from_regex(r"[-+ 0]?[0-9]{1,20}\n?", fullmatch=True)
    | st.integers(MAX_SIZE - 9, MAX_SIZE + 9).map(str)
)
def test_text_is_a_size_where_it_is_its_one_decimal_text(text: str) -> None:
    is_decimal = re.fullmatch("0|[1-9][0-9]*", text) is not None
    if is_decimal and int(text) <= MAX_SIZE:
        assert str(decode_size(text, "a size")) == text
        return
    with pytest.raises(EvidenceMalformed, match="a size"):
        decode_size(text, "a size")
