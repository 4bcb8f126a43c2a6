"""RFC 8785: the vectors of its text and of appendix B; what has no canonical form."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import SchemaInvalid
from chimera.schemas.transparency.canonical import MAX_INTEGER, Json, encode, is_canonical
from tests.schemas.transparency.logs import vectors

KNOWN = vectors("rfc8785")


@pytest.mark.parametrize("case", KNOWN["cases"], ids=lambda case: case["name"])
def test_value_of_the_rfc_is_written_as_there(case: dict[str, str]) -> None:
    assert encode(json.loads(case["json"])) == case["canonical"].encode()
    assert is_canonical(case["canonical"].encode())
    assert not is_canonical(case["json"].encode())


def double(bits: str) -> float:
    value: float = struct.unpack(">d", bytes.fromhex(bits))[0]
    return value


@pytest.mark.parametrize(("bits", "text"), KNOWN["numbers"])
def test_number_of_the_rfc_is_written_as_there(bits: str, text: str) -> None:
    assert encode(double(bits)) == text.encode()


@pytest.mark.parametrize("bits", KNOWN["refused_numbers"])
def test_number_that_is_none_is_refused(bits: str) -> None:
    with pytest.raises(SchemaInvalid, match="canonical JSON"):
        encode(double(bits))


@pytest.mark.parametrize("value", [MAX_INTEGER + 1, -MAX_INTEGER - 1, "\ud800", {"\udfff": 1}])
def test_value_without_a_canonical_form_is_refused(value: Json) -> None:
    with pytest.raises(SchemaInvalid, match="canonical JSON"):
        encode(value)


def test_value_that_is_too_deep_is_refused() -> None:
    value: Json = []
    for _ in range(5_000):
        value = [value]
    with pytest.raises(SchemaInvalid):
        encode(value)


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(-MAX_INTEGER, MAX_INTEGER)  # a larger one is read again as an integer
    | st.text(st.characters(exclude_categories=["Cs"]))
)
names = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=8
)


@given(values)
def test_canonical_form_says_what_the_value_does_and_is_its_own(value: Json) -> None:
    raw = encode(value)
    assert is_canonical(raw)
    assert encode(json.loads(raw)) == raw
    assert json.loads(raw) == value


@given(st.binary(max_size=50))
def test_any_bytes_are_canonical_or_not(raw: bytes) -> None:
    if is_canonical(raw):
        assert encode(json.loads(raw)) == raw


@pytest.mark.parametrize(
    "raw", [b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":1,"a":1}', b"1.0", b"[1]\n", b'"\\u00e9"', b"-0"]
)
def test_other_spelling_is_not_canonical(raw: bytes) -> None:
    assert not is_canonical(raw)
