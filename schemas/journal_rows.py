"""Rows of the journal: one a request, as columns, and the parts of a segment that they travel in.

    part   fixed fields, then compressed: the table (JSON) and the columns; then the commitments

What requests have in common that were computed together stands once, as a `Group`; outcomes are
numbers of a part's own list of names. Columns that are constant take nine bytes. Commitments look
random, so they are left out of the compression: 64 bytes a row, beside about 5 of all others. That is
snappy's; zstd makes it 2, for ten times its time (`python -m benchmarks.journal`).
`tests/schemas/test_journal_rows.py` takes rows there and back, and fuzzes parts.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false
# (cramjam ships stubs without types for what it returns)

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import cramjam
import msgspec
import numpy as np

from chimera.schemas.columns import Columns, Numbers, constant, pack_numbers, pack_texts
from chimera.schemas.errors import Malformed

PART_VERSION = 1
PART_ROWS = 512  # at most: with the longest names a part still fits a record
TEXT_BYTES = 512  # of an id or an origin; a longer one is cut
COMMITMENT_BYTES = 32
NO_COMMITMENT = bytes(COMMITMENT_BYTES)
"""Of a row whose tenant has no key, beside rows of tenants that have one."""
NO_SLACK = 2**31 - 1
"""The slack of a request without a deadline."""

OK, RETRY = "ok", "retry"
"""Outcomes that are no error code; retry: it went to a retry topic, where it is a row again."""

_HEAD = struct.Struct("<BBIqII")  # version, flags, rows, first offset, packed bytes, plain bytes
_TABLE = struct.Struct("<I")
_COMPRESSED, _COMMITTED = 1, 2
_MAX_PLAIN_BYTES = 16 << 20


class Group(msgspec.Struct, frozen=True, array_like=True):
    """What rows have in common that one batch computed for one lane; times in microseconds."""

    tenant: str
    model: str = ""
    version: str = ""
    digest: str = ""  # of the model, SHA-256, hexadecimal
    tier: str = ""
    executor: str = ""  # its slot on the node
    batch_size: int = 0  # rows that the model computed together; 0: no model saw them
    queue_us: int = 0
    compute_us: int = 0
    total_us: int = 0  # from the lane's window to the answer
    commitment_key: str = ""  # its id, hexadecimal; empty: none, or a release that did not say


class Table(msgspec.Struct, frozen=True, array_like=True):
    """What the numbers of two columns stand for."""

    groups: tuple[Group, ...]
    outcomes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Parallel columns, at least one row. Commitments: 32 bytes a row, or none for all of them."""

    groups: tuple[Group, ...]
    outcomes: tuple[str, ...]
    offsets: Numbers  # ascending
    group: Numbers  # index in groups
    outcome: Numbers  # index in outcomes
    appended_ms: Numbers  # when the request was appended or made, epoch
    input_bytes: Numbers
    output_bytes: Numbers
    slack_ms: Numbers  # of the deadline when the window was committed; below 0: it was late
    attempt: Numbers  # how often it had failed before
    ids: Sequence[bytes]  # the callers' names; empty: none was given
    origins: Sequence[bytes] = ()  # <topic>:<partition>:<offset> where it came from a retry topic
    input_commitments: bytes = b""
    output_commitments: bytes = b""

    def __len__(self) -> int:
        return len(self.offsets)


def write_part(rows: Rows) -> bytes:
    """At most `PART_ROWS` of them."""
    count, first = len(rows), int(rows.offsets[0])
    table = _encode_table(Table(rows.groups, rows.outcomes))
    plain = b"".join(
        (
            _TABLE.pack(len(table)),
            table,
            pack_numbers(_steps(rows.offsets)),
            pack_numbers(rows.group),
            pack_numbers(rows.outcome),
            pack_numbers(rows.appended_ms),
            pack_numbers(rows.input_bytes),
            pack_numbers(rows.output_bytes),
            pack_numbers(rows.slack_ms),
            pack_numbers(rows.attempt),
            pack_texts(rows.origins, TEXT_BYTES),
            pack_texts(rows.ids, TEXT_BYTES),
        )
    )
    packed = bytes(cramjam.snappy.compress_raw(plain))
    flags = _COMMITTED if rows.input_commitments else 0
    if len(packed) < len(plain):
        flags |= _COMPRESSED
    else:
        packed = plain
    head = _HEAD.pack(PART_VERSION, flags, count, first, len(packed), len(plain))
    return b"".join((head, packed, rows.input_commitments, rows.output_commitments))


def read_part(raw: bytes) -> Rows:
    """The rows of a part.

    Raises:
        Malformed: cut off, of another version, or columns that do not fit together.
    """
    version, flags, count, first, packed, plain = _head(raw)
    if version != PART_VERSION or flags & ~(_COMPRESSED | _COMMITTED):
        raise Malformed(f"journal part: version {version}, flags {flags}")
    if not 1 <= count <= PART_ROWS or plain > _MAX_PLAIN_BYTES or not 0 <= first < 2**62:
        raise Malformed(f"journal part: {count} rows from offset {first} in {plain} bytes")
    ends = _HEAD.size + packed
    commitments = count * COMMITMENT_BYTES if flags & _COMMITTED else 0
    if ends + 2 * commitments != len(raw):
        raise Malformed(f"journal part: {packed} bytes and {count} rows in {len(raw)}")
    body = raw[_HEAD.size : ends]
    columns = Columns(_unpacked(body, plain) if flags & _COMPRESSED else body, count)
    table = _table(columns)
    steps = columns.numbers()
    found = Rows(
        table.groups,
        table.outcomes,
        _offsets(first, steps),
        columns.numbers(),
        columns.numbers(),
        columns.numbers(),
        columns.numbers(),
        columns.numbers(),
        columns.numbers(),
        columns.numbers(),
        origins=columns.texts(),
        ids=columns.texts(),
        input_commitments=raw[ends : ends + commitments],
        output_commitments=raw[ends + commitments :],
    )
    columns.end()
    _require_known(found.group, len(found.groups), "groups")
    _require_known(found.outcome, len(found.outcomes), "outcomes")
    return found


def first_of(raw: bytes) -> int:
    """The first offset of a part. Raises Malformed."""
    return _head(raw)[3]


def _head(raw: bytes) -> tuple[int, int, int, int, int, int]:
    if len(raw) < _HEAD.size:
        raise Malformed(f"journal part: {len(raw)} bytes")
    version, flags, count, first, packed, plain = _HEAD.unpack_from(raw)
    return version, flags, count, first, packed, plain


_encode_table = msgspec.json.Encoder().encode
_decode_table = msgspec.json.Decoder(Table).decode


def _table(columns: Columns) -> Table:
    (size,) = _TABLE.unpack(columns.take(_TABLE.size))
    try:
        return _decode_table(columns.take(size))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"journal part: table: {error}") from None


def _steps(offsets: Numbers) -> Numbers:
    """Of each offset from the one before; those of neighbours are all 1."""
    count = len(offsets)
    if int(offsets[-1]) - int(offsets[0]) == count - 1:
        return constant(1, count)
    steps: Numbers = np.diff(offsets, prepend=offsets[0] - 1)
    return steps


def _offsets(first: int, steps: Numbers) -> Numbers:
    if int(steps.min()) < 1 or int(steps[0]) != 1 or int(steps.max()) > 2**48:
        raise Malformed("journal part: offsets that do not ascend")
    offsets: Numbers = np.cumsum(steps) + (first - 1)
    return offsets


def _require_known(column: Numbers, count: int, what: str) -> None:
    if int(column.min()) < 0 or int(column.max()) >= count:
        raise Malformed(f"journal part: {what} that are not in its table")


def _unpacked(body: bytes, size: int) -> bytes:
    """Never more than `size`, whatever the bytes say."""
    found = bytearray(size)
    try:
        written = cramjam.snappy.decompress_raw_into(body, found)
    except cramjam.DecompressionError as error:
        raise Malformed(f"journal part: {error}") from None
    if written != size:
        raise Malformed(f"journal part: {written} bytes, not {size}")
    return bytes(found)
