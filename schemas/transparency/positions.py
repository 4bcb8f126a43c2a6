"""How far each input of the audit log has leaves, by `<topic>:<partition>`, as the last record says.

The sequencer's group has these offsets too, but Kafka forgets what a group has not committed for a week,
while events of control may rest for longer; whoever began anew would write their leaves again. Pure.
`tests/schemas/transparency/test_positions.py`.
"""

from collections.abc import Mapping

import msgspec

from chimera.schemas.transparency.by_partition import ByPartition


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Of one partition, of that topic alone: one that was made anew has another id."""

    topic_id: str
    next: int


Positions = Mapping[str, Position]

_FORM = ByPartition[Position]("how far was read", Position)
encode_positions, decode_positions = _FORM.encode, _FORM.decode
