"""What is told of each partition: in one order, read as it was written, or refused by its name."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas import journal
from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency.by_partition import ByPartition, key


class Told(msgspec.Struct, frozen=True, array_like=True):
    number: int


FORM = ByPartition[Told]("what is told", Told)


def test_partition_is_called_as_in_the_journal() -> None:
    assert key("inference.requests", 7) == "inference.requests:7"
    assert key("r", 0).encode() == journal.key("r", 0)


@given(st.dictionaries(st.text(), st.builds(Told, st.integers(0, 2**63 - 1))))
def test_all_is_read_as_it_was_written_in_one_order(found: dict[str, Told]) -> None:
    raw = FORM.encode(found)
    assert FORM.decode(raw) == found
    assert raw == FORM.encode(dict(reversed(found.items())))


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"r:0":[]}', b'{"r:0":7}', b"\xff"])
def test_what_is_none_is_refused_by_its_name(raw: bytes) -> None:
    with pytest.raises(EvidenceMalformed, match="what is told"):
        FORM.decode(raw)
