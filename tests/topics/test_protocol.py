"""Parts of answers that are not read as aiokafka would."""

# pyright: reportMissingTypeStubs=false
# (aiokafka ships no type information)

from io import BytesIO

import pytest
from aiokafka.protocol.types import UnsignedVarInt32

from chimera.topics.protocol import CompactView

RECORDS = bytes(range(256)) * 300


def test_view_is_of_the_bytes_of_the_answer() -> None:
    """Not of what they are read through: the two ending together crash Python 3.12."""
    answer = b"head" + CompactView.encode(memoryview(RECORDS)) + CompactView.encode(None) + b"tail"
    data = BytesIO(answer)
    data.read(4)
    view = CompactView.decode(data)
    assert view is not None
    assert view == RECORDS
    assert view.obj is answer
    assert view.readonly
    assert CompactView.decode(data) is None
    assert data.read() == b"tail"


def test_view_past_the_end_of_the_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="underrun"):
        CompactView.decode(BytesIO(UnsignedVarInt32.encode(12) + b"only ten b"))
