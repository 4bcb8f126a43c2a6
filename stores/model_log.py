"""`model_log`: a row for each event of `models.events`, with what all kinds share and the whole of it.

The body is the event as it was written; ClickHouse reads its other fields with `JSONExtract`. What is
no event has a row, too, named `unreadable`: nothing that anybody wrote there is left out.
`tests/stores/test_model_log.py` reads rows back from the engine.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from chimera.schemas.columns import Numbers, constant
from chimera.schemas.errors import RequestError
from chimera.schemas.model_events import decode_event
from chimera.stores.native_block import Chunk, Column, numbers, same, texts
from chimera.stores.source import Destination, Record

TABLE = "model_log"
UNREADABLE = "unreadable"
_MS = "DateTime64(3, 'UTC')"
_TEXTS = (
    "event_id",
    "tenant",
    "model",
    "version",
    "source",
    "command_id",
    "action",
    "outcome",
    "verdict",
    "reason",
    "error",
)
COLUMNS = (
    ("event", "String"),
    *((name, "String") for name in _TEXTS),
    ("revision", "UInt64"),
    ("body", "String"),
    ("at", _MS),
    ("appended_at", _MS),
    ("events_partition", "UInt32"),
    ("events_offset", "Int64"),
)


def chunks(records: Sequence[Record]) -> list[Chunk]:
    """A row of each."""
    return [_row(record) for record in records]


def _row(record: Record) -> Chunk:
    try:
        event: Mapping[str, Any] = msgspec.to_builtins(decode_event(record.value))
    except RequestError as error:
        event = {"event": UNREADABLE, "at_ms": record.at_ms, "error": str(error)}
    found: list[Column] = [
        same(event["event"], 1),
        *(same(str(event.get(name) or ""), 1) for name in _TEXTS),
        numbers("UInt64", _one(event.get("revision", 0))),
        texts([record.value]),
        numbers(_MS, _one(event["at_ms"])),
        numbers(_MS, _one(record.at_ms)),
        numbers("UInt32", _one(record.partition)),
        numbers("Int64", _one(record.offset)),
    ]
    return Chunk(1, found)


def _one(value: int) -> Numbers:
    return constant(value, 1)


LOG = Destination(TABLE, COLUMNS, chunks, "events_partition", "events_offset")
