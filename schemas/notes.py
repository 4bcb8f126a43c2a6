"""What an executor tells the journal of one request whose lane has read it, beside the answer.

    note   fixed fields, then both commitments and which key made them, or none, then the id

A block's requests need none: their rows are finished when they leave the executor.
`tests/schemas/test_notes.py`.
"""

import struct
from typing import NamedTuple

from chimera.schemas.commitments import KEY_ID_BYTES
from chimera.schemas.errors import Malformed
from chimera.schemas.journal_rows import COMMITMENT_BYTES, TEXT_BYTES

_HEAD = struct.Struct("<IIB")  # queue_us, total_us, whether there are commitments
_MAX_US = 2**32 - 1


class Note(NamedTuple):
    """Commitments are empty where the tenant has no key."""

    queue_us: int = 0
    total_us: int = 0
    id: bytes = b""
    input_commitment: bytes = b""
    output_commitment: bytes = b""
    commitment_key: bytes = b""  # its id


def write_note(note: Note) -> bytes:
    """An id over the limit of a row's texts is cut, as it is there."""
    head = _HEAD.pack(
        min(note.queue_us, _MAX_US), min(note.total_us, _MAX_US), bool(note.input_commitment)
    )
    committed = note.input_commitment + note.output_commitment + note.commitment_key
    return b"".join((head, committed, note.id[:TEXT_BYTES]))


def read_note(raw: bytes) -> Note:
    """Raises Malformed: it is cut off."""
    start = _HEAD.size
    if len(raw) < start:
        raise Malformed(f"note: {len(raw)} bytes")
    queue_us, total_us, is_committed = _HEAD.unpack_from(raw)
    if not is_committed:
        return Note(queue_us, total_us, raw[start:])
    middle, key = start + COMMITMENT_BYTES, start + 2 * COMMITMENT_BYTES
    end = key + KEY_ID_BYTES
    if len(raw) < end:
        raise Malformed(f"note: {len(raw)} bytes")
    return Note(queue_us, total_us, raw[end:], raw[start:middle], raw[middle:key], raw[key:end])
