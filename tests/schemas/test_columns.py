import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.columns import Columns, constant, numbers, pack_numbers, pack_texts
from chimera.schemas.errors import Malformed

I64 = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.lists(I64, min_size=1, max_size=40) | st.lists(
    st.integers(-300, 300), min_size=1, max_size=40
)


@given(NUMBERS)
def test_numbers_come_back(values: list[int]) -> None:
    columns = Columns(pack_numbers(numbers(values)), len(values))
    assert columns.numbers().tolist() == values
    columns.end()


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=20))
def test_texts_come_back(values: list[bytes]) -> None:
    columns = Columns(pack_texts(values, 20), len(values))
    assert columns.texts() == values
    columns.end()


@pytest.mark.parametrize(
    ("values", "size"),
    [([7] * 500, 9), (list(range(7, 107)), 109), ([0, 256], 13), ([-(2**63), 2**63 - 1], 25)],
)
def test_numbers_take_as_few_bytes_as_their_range_needs(values: list[int], size: int) -> None:
    assert len(pack_numbers(numbers(values))) == size


def test_constant_is_packed_like_equal_numbers() -> None:
    packed = pack_numbers(constant(-5, 300))
    assert packed == pack_numbers(numbers([-5] * 300)) == pack_numbers(constant(-5, 300)[7:9])
    assert np.array_equal(Columns(packed, 3).numbers(), [-5, -5, -5])


def test_texts_over_the_limit_are_cut() -> None:
    packed = pack_texts([b"abc", b"abcd", b""], 3)
    assert Columns(packed, 3).texts() == [b"abc", b"abc", b""]


def test_no_texts_stand_for_empty_ones() -> None:
    assert Columns(pack_texts((), 9), 4).texts() == [b""] * 4


@given(st.binary(max_size=60), st.integers(1, 30), st.booleans())
def test_bytes_that_are_no_columns_are_refused(raw: bytes, count: int, as_texts: bool) -> None:
    columns = Columns(raw, count)
    try:
        found = columns.texts() if as_texts else columns.numbers().tolist()
    except Malformed:
        return
    assert len(found) == count


def test_columns_refuse_what_is_left_over() -> None:
    columns = Columns(pack_numbers(numbers([1, 2])) + b"x", 2)
    columns.numbers()
    with pytest.raises(Malformed, match="1 bytes after"):
        columns.end()
