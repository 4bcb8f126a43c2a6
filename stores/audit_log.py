"""`audit_log`: a row for each leaf of `audit.log`: its index, its bytes as they are, and its hashes.

The index stands in the record's header. Nothing is judged here: what is in the topic is in the table,
a hole or a repeated index too, and whoever verifies names it. A row's chain hash goes on from the row
before it, so one sink writes the table, and looks up where it ended. Beside a leaf that ends subtrees
are their roots (`subtrees`), joined, for who proves; none behind a hole or a repeat. The engine itself
takes from the bytes what people look for: kind, tenant, request id. `tests/stores/test_audit_log.py`.
"""

import struct
from collections.abc import Sequence

from chimera.schemas.columns import constant
from chimera.schemas.columns import numbers as as_numbers
from chimera.schemas.errors import EvidenceAltered, Malformed
from chimera.schemas.transparency import chain
from chimera.schemas.transparency.log_records import LOG_INDEX
from chimera.schemas.transparency.merkle import leaf_hash
from chimera.schemas.transparency.subtrees import Subtrees
from chimera.stores.audit_table import AuditTable
from chimera.stores.clickhouse import DATABASE, ClickHouse
from chimera.stores.native_block import Chunk, Streams, numbers, texts
from chimera.stores.source import Destination, Record

TABLE = "audit_log"
_MS = "DateTime64(3, 'UTC')"
COLUMNS = (
    ("log_index", "UInt64"),
    ("body", "String"),
    ("leaf_hash", "FixedString(32)"),
    ("chain_hash", "FixedString(32)"),
    ("subtrees", "String"),
    ("appended_at", _MS),
    ("log_partition", "UInt32"),
    ("log_offset", "Int64"),
)


class Leaves:
    """What is known between rows: where the chain has come to, and the tree."""

    def __init__(self) -> None:
        self._previous = chain.START
        self._tree: Subtrees | None = Subtrees()

    def begin(self, clickhouse: ClickHouse) -> None:
        """After the table's last row. Raises ClickHouseUnavailable."""
        found = clickhouse.rows(
            f"SELECT hex(chain_hash) FROM {DATABASE}.{TABLE} ORDER BY log_offset DESC LIMIT 1"
        )
        self._previous = bytes.fromhex(found[0][0]) if found else chain.START
        try:
            self._tree = AuditTable(clickhouse).tree()
        except EvidenceAltered:
            self._tree = None  # who verifies names the row

    def chunks(self, records: Sequence[Record]) -> Sequence[Chunk]:
        """A row of each, column by column.

        Raises:
            Malformed: no index, so it has no place.
        """
        count, indexes = len(records), list(map(_index, records))
        bodies = [one.value for one in records]
        leaves = list(map(leaf_hash, bodies))
        links = list(chain.links(leaves, self._previous))
        self._previous = links[-1]
        columns: list[Streams] = [
            (struct.pack(f"<{count}Q", *indexes),),
            texts(bodies),
            (b"".join(leaves),),
            (b"".join(links),),
            texts(list(map(self._ended, indexes, leaves))),
            numbers(_MS, as_numbers([one.at_ms for one in records])),
            numbers("UInt32", constant(records[0].partition, count)),
            numbers("Int64", as_numbers([one.offset for one in records])),
        ]
        return [Chunk(count, columns)]

    def _ended(self, index: int, leaf: bytes) -> bytes:
        """The roots of the subtrees that end with a leaf."""
        if self._tree is None or self._tree.size != index:
            self._tree = None
            return b""
        return b"".join(self._tree.append(leaf))


def destination() -> Destination:
    """For one sink."""
    leaves = Leaves()
    return Destination(
        TABLE,
        COLUMNS,
        leaves.chunks,
        "log_partition",
        "log_offset",
        is_by_row=True,
        begin=leaves.begin,
    )


def _index(record: Record) -> int:
    for name, value in record.headers:
        if name == LOG_INDEX:
            if value.isdigit() and len(value) < 20:
                return int(value)
            break
    raise Malformed(f"audit leaf: offset {record.offset} has no {LOG_INDEX} in its headers")
