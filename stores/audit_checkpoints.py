"""`audit_checkpoints`: a row for each signed tree head of `audit.checkpoints`, and the note itself.

What is no checkpoint has a row, too, with its bytes and why: nothing that anybody wrote there is left
out. Signatures are not verified here. `tests/stores/test_audit_log.py`.
"""

from collections.abc import Sequence

from chimera.schemas.columns import constant
from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency import checkpoints, notes
from chimera.schemas.transparency.checkpoints import Checkpoint
from chimera.stores.native_block import Chunk, numbers, same, texts
from chimera.stores.source import Destination, Record

TABLE = "audit_checkpoints"
_MS = "DateTime64(3, 'UTC')"
COLUMNS = (
    ("origin", "String"),
    ("size", "UInt64"),
    ("root", "FixedString(32)"),
    ("note", "String"),
    ("error", "String"),
    ("appended_at", _MS),
    ("checkpoints_partition", "UInt32"),
    ("checkpoints_offset", "Int64"),
)


def chunks(records: Sequence[Record]) -> list[Chunk]:
    """A row of each."""
    return [_row(record) for record in records]


def _row(record: Record) -> Chunk:
    error = ""
    try:
        head = checkpoints.decode(notes.decode(record.value).text)
    except EvidenceMalformed as reason:
        head, error = Checkpoint("", 0, bytes(32)), str(reason)
    return Chunk(
        1,
        [
            same(head.origin, 1),
            numbers("UInt64", constant(head.size, 1)),
            (head.root,),
            texts([record.value]),
            same(error, 1),
            numbers(_MS, constant(record.at_ms, 1)),
            numbers("UInt32", constant(record.partition, 1)),
            numbers("Int64", constant(record.offset, 1)),
        ],
    )


LOG = Destination(TABLE, COLUMNS, chunks, "checkpoints_partition", "checkpoints_offset")
