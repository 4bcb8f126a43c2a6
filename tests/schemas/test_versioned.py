from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import Malformed, RequestError, SchemaInvalid
from chimera.schemas.versioned import Form


class Record(msgspec.Struct, frozen=True):
    size: int
    v: int = 3


FORM = Form[Record]("record", Record, 3)


@pytest.mark.parametrize(("version", "is_read"), [(1, False), (2, True), (3, True), (4, False)])
def test_form_reads_its_version_and_the_one_before(version: int, is_read: bool) -> None:
    value = msgspec.json.encode({"v": version, "size": 1})
    if is_read:
        assert FORM.decode(value) == Record(1, version)
    else:
        with pytest.raises(SchemaInvalid, match=f"record: version {version}"):
            FORM.decode(value)


def test_form_of_the_first_version_reads_no_version_0() -> None:
    with pytest.raises(SchemaInvalid, match="version 0"):
        Form[Record]("record", Record, 1).decode(b'{"v":0,"size":1}')


@given(st.integers(-(2**63), 2**63 - 1))
def test_form_reads_what_it_writes(size: int) -> None:
    assert FORM.decode(FORM.encode(Record(size))) == Record(size)


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.binary() | JSON.map(msgspec.json.encode))
def test_form_refuses_everything_else_with_one_of_two_errors(value: bytes) -> None:
    try:
        assert isinstance(FORM.decode(value), Record)
    except RequestError as error:
        assert type(error) in (Malformed, SchemaInvalid)
        assert str(error).startswith("record: ")
