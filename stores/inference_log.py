"""`inference_log`: a row for each request, from the segments of `inference.journal`. Pure.

What a segment's rows have in common costs a look-up a row; everything else is copied as a column.
A row carries the partition and offset of its segment: the table itself says how far it has come.
A segment that cannot be read stops the sink, rather than leaving a hole that nobody sees.
`tests/stores/test_sink.py` reads rows back from the engine.
"""

from collections.abc import Sequence

import numpy as np

from chimera.schemas.columns import Numbers, constant
from chimera.schemas.journal import SegmentHead, decode_segment
from chimera.schemas.journal_rows import NO_COMMITMENT, NO_SLACK, Group, Rows, join
from chimera.stores.native_block import Chunk, Column, chosen, nullable, numbers, texts
from chimera.stores.source import Destination, Record

TABLE = "inference_log"
_MS = "DateTime64(3, 'UTC')"
_FEW = "LowCardinality(String)"
COLUMNS = (
    ("tenant", _FEW),
    ("model", _FEW),
    ("version", _FEW),
    ("digest", _FEW),
    ("tier", _FEW),
    ("executor", _FEW),
    ("commitment_key", _FEW),
    ("batch_size", "UInt32"),
    ("queue_us", "UInt32"),
    ("compute_us", "UInt32"),
    ("total_us", "UInt32"),
    ("outcome", _FEW),
    ("id", "String"),
    ("origin", "String"),
    ("topic", _FEW),
    ("guarantee", _FEW),
    ("node", _FEW),
    ("partition", "UInt32"),
    ("offset", "Int64"),
    ("attempt", "UInt16"),
    ("input_bytes", "UInt32"),
    ("output_bytes", "UInt32"),
    ("input_commitment", "FixedString(32)"),
    ("output_commitment", "FixedString(32)"),
    ("slack_ms", "Nullable(Int32)"),
    ("appended_at", _MS),
    ("committed_at", _MS),
    ("journal_partition", "UInt32"),
    ("journal_offset", "Int64"),
)
_TEXTS = ("tenant", "model", "version", "digest", "tier", "executor", "commitment_key")
_NUMBERS = ("batch_size", "queue_us", "compute_us", "total_us")


def chunks(records: Sequence[Record]) -> list[Chunk]:
    """The rows of each segment.

    Raises:
        Malformed, SchemaInvalid: it is none.
    """
    return [chunk for record in records for chunk in _segment(record)]


def _segment(record: Record) -> list[Chunk]:
    """Its parts as one: a column costs as much for few rows as for many."""
    head, parts = decode_segment(record.value)
    found = list(parts)
    if not found:
        return []
    rows = join(found)
    return [Chunk(len(rows), _columns(record, head, rows))]


def _columns(record: Record, head: SegmentHead, rows: Rows) -> list[Column]:
    count = len(rows)
    first = constant(0, count)
    return [
        *_of_groups(rows.groups, rows.group),
        chosen(rows.outcomes, rows.outcome),
        texts(rows.ids),
        texts(rows.origins),
        chosen((head.topic,), first),
        chosen((head.guarantee,), first),
        chosen((head.node,), first),
        numbers("UInt32", constant(head.partition, count)),
        numbers("Int64", rows.offsets),
        numbers("UInt16", rows.attempt),
        numbers("UInt32", rows.input_bytes),
        numbers("UInt32", rows.output_bytes),
        (rows.input_commitments or NO_COMMITMENT * count,),
        (rows.output_commitments or NO_COMMITMENT * count,),
        nullable("Int32", rows.slack_ms, NO_SLACK),
        numbers(_MS, rows.appended_ms),
        numbers(_MS, constant(record.at_ms, count)),
        numbers("UInt32", constant(record.partition, count)),
        numbers("Int64", constant(record.offset, count)),
    ]


def _of_groups(groups: tuple[Group, ...], index: Numbers) -> list[Column]:
    found: list[Column] = [
        chosen([getattr(group, name) for group in groups], index) for name in _TEXTS
    ]
    for name in _NUMBERS:
        values = np.array([getattr(group, name) for group in groups], np.int64)
        is_one = len(groups) == 1
        column = constant(int(values[0]), len(index)) if is_one else values[index]
        found.append(numbers("UInt32", column))
    return found


LOG = Destination(TABLE, COLUMNS, chunks, "journal_partition", "journal_offset")
