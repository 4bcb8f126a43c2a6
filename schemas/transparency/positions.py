"""How far each input of the audit log has leaves, by `<topic>:<partition>`, as the last record says.

The sequencer's group has these offsets too, but Kafka forgets what a group has not committed for a week,
while events of control may rest for longer; whoever began anew would write their leaves again. Pure.
`tests/schemas/transparency/test_positions.py`.
"""

from collections.abc import Mapping

import msgspec

from chimera.schemas.errors import EvidenceMalformed


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Of one partition, of that topic alone: one that was made anew has another id."""

    topic_id: str
    next: int


Positions = Mapping[str, Position]

encode_positions = msgspec.json.Encoder(order="sorted").encode
_DECODER = msgspec.json.Decoder(dict[str, Position])


def decode_positions(raw: bytes) -> dict[str, Position]:
    """Raises EvidenceMalformed: it is none."""
    try:
        return _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EvidenceMalformed(f"audit.log: how far was read: {error}") from None
