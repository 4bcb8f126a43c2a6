"""`training_log`: a row for each event of `training.events`, with what all share and the whole of it.

The body is the event as it was written; ClickHouse reads step, loss and the rest from it, so that a
kind of event that is newer than this release has its row, too. What is no JSON object has a row named
`unreadable`. `tests/stores/test_training_log.py`.
"""

from collections.abc import Sequence
from typing import Any, TypeGuard

import msgspec

from chimera.schemas.columns import constant
from chimera.stores.native_block import Chunk, numbers, same, texts
from chimera.stores.source import Destination, Record

TABLE = "training_log"
UNREADABLE = "unreadable"
_MS = "DateTime64(3, 'UTC')"
_TEXTS = (
    "event_id",
    "run_id",
    "trigger_id",
    "tenant",
    "model",
    "source",
    "actor",
    "outcome",
    "reason",
    "error",
)
COLUMNS = (
    ("event", "String"),
    *((name, "String") for name in _TEXTS),
    ("body", "String"),
    ("at", _MS),
    ("appended_at", _MS),
    ("events_partition", "UInt32"),
    ("events_offset", "Int64"),
)
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def chunks(records: Sequence[Record]) -> list[Chunk]:
    """A row of each."""
    return [_row(record) for record in records]


def _row(record: Record) -> Chunk:
    try:
        event = _decode(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        event = {"event": UNREADABLE, "error": str(error)}
    at_ms = event.get("at_ms")
    return Chunk(
        1,
        [
            same(_text(event.get("event", "")), 1),
            *(same(_text(event.get(name)), 1) for name in _TEXTS),
            texts([record.value]),
            numbers(_MS, constant(at_ms if _is_moment(at_ms) else record.at_ms, 1)),
            numbers(_MS, constant(record.at_ms, 1)),
            numbers("UInt32", constant(record.partition, 1)),
            numbers("Int64", constant(record.offset, 1)),
        ],
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _is_moment(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and 0 <= value < 2**43


LOG = Destination(TABLE, COLUMNS, chunks, "events_partition", "events_offset")
