"""`audit_log` and `audit_checkpoints`, read: a log for who verifies it, out of a ClickHouse nobody trusts.

A request is found by its index, and proved from the leaf hashes of two tiles and the roots of
subtrees that rest beside the leaves (`subtrees`): few rows, however long the log. A root that is not
there, because an older release wrote the row, is made of leaf hashes. Rows that contradict
themselves are refused here, and named; whatever else was done to them, the signed root tells.
`tests/stores/test_audit_table.py`.
"""

from collections.abc import Iterator, Sequence

from chimera.schemas.errors import EvidenceAltered, RequestError
from chimera.schemas.transparency import subtrees
from chimera.schemas.transparency.leaves import RequestServed, decode_leaf
from chimera.schemas.transparency.log_records import Indexed
from chimera.schemas.transparency.merkle import HASH_BYTES, Range, leaf_hash, root
from chimera.schemas.transparency.row import Row
from chimera.schemas.transparency.subtrees import Place, Subtrees
from chimera.stores.clickhouse import DATABASE, ClickHouse

_LEAVES, _CHECKPOINTS = f"{DATABASE}.audit_log", f"{DATABASE}.audit_checkpoints"
_PAGE_ROWS = 50_000
_PAGE_NOTES = 64
_MAX_FOUND = 1_000  # leaves of one name


class AuditTable:
    """A `LeafSource`. All of it raises ClickHouseUnavailable and ClickHouseRefused."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    def rows(self, size: int) -> Iterator[Row]:
        """A page at a time; two rows of one index come one after the other."""
        for start in range(0, size, _PAGE_ROWS):
            page = self._clickhouse.columns(
                ("log_index", "body", "leaf_hash", "chain_hash"),
                f"FROM {_LEAVES} WHERE log_index >= {{start:UInt64}} AND log_index < {{end:UInt64}}"
                " ORDER BY log_index, log_offset",
                {"start": start, "end": min(size, start + _PAGE_ROWS)},
            )
            yield from map(Row, *page)

    def find(self, request_id: str) -> list[Indexed]:
        """Raises EvidenceAltered: a row does not say what its columns say."""
        found = self._clickhouse.columns(
            ("log_index", "body", "leaf_hash"),
            f"FROM {_LEAVES} WHERE request_id = {{name:String}} ORDER BY log_index LIMIT {_MAX_FOUND}",
            {"name": request_id},
        )
        for index, body, hashed in zip(*found, strict=True):
            if leaf_hash(body) != hashed:
                raise _altered(index, "changed: its bytes are not those of its leaf hash")
            if _name(body) != request_id:
                raise _altered(
                    index, f"its request_id is {request_id!r}, and its bytes say another"
                )
        return [Indexed(index, body) for index, body, _ in zip(*found, strict=True)]

    def path(self, index: int, size: int) -> list[bytes]:
        """Raises EvidenceAltered: a row is missing, or there twice."""
        wanted = subtrees.wanted(index, size)
        leaves = self._leaf_hashes(wanted.leaves)
        return subtrees.path(index, size, self._kept(wanted.places), leaves)

    def checkpoints(self) -> list[bytes]:
        (notes,) = self._clickhouse.columns(
            ("note",), f"FROM {_CHECKPOINTS} ORDER BY checkpoints_offset"
        )
        return list(notes)

    def covering(self, index: int) -> Iterator[bytes]:
        start = 0
        while True:
            (notes,) = self._clickhouse.columns(
                ("note",),
                f"FROM {_CHECKPOINTS} WHERE size > {{index:UInt64}} AND error = ''"
                f" ORDER BY size, checkpoints_offset LIMIT {_PAGE_NOTES} OFFSET {{start:UInt64}}",
                {"index": index, "start": start},
            )
            yield from notes
            if len(notes) < _PAGE_NOTES:
                return
            start += _PAGE_NOTES

    def tree(self) -> Subtrees | None:
        """Of all the table's leaves, for who goes on; None: its rows are not as many as it says.

        Raises:
            EvidenceAltered: of those at its end one is missing, or there twice.
        """
        ((count, end),) = self._clickhouse.rows(
            f"SELECT count(), max(log_index) + toUInt8(count() > 0) FROM {_LEAVES}"
        )
        if count != end:
            return None
        kept = self._kept(subtrees.peaks(end))
        tail = end - end % subtrees.TILE
        leaves = self._leaf_hashes([(tail, end)])
        return Subtrees(end // subtrees.TILE, list(kept.values()), list(leaves.values()))

    def _kept(self, places: Sequence[Place]) -> dict[Place, bytes]:
        columns = self._clickhouse.columns(
            ("log_index", "subtrees"),
            f"FROM {_LEAVES} WHERE log_index IN {{at:Array(UInt64)}}",
            {"at": sorted({place.last for place in places})},
        )
        beside: dict[int, bytes] = dict(zip(*columns, strict=True))
        return {place: self._kept_at(place, beside.get(place.last, b"")) for place in places}

    def _kept_at(self, place: Place, beside: bytes) -> bytes:
        found = beside[place.number * HASH_BYTES : (place.number + 1) * HASH_BYTES]
        if len(found) == HASH_BYTES:
            return found
        return root(list(self._leaf_hashes([place.range]).values()))

    def _leaf_hashes(self, spans: Sequence[Range]) -> dict[int, bytes]:
        """By index, ascending."""
        asked = " OR ".join(f"log_index >= {start} AND log_index < {end}" for start, end in spans)
        columns = self._clickhouse.columns(
            ("log_index", "leaf_hash"), f"FROM {_LEAVES} WHERE {asked} ORDER BY log_index"
        )
        indexes: Sequence[int] = columns[0]
        expected = [at for start, end in sorted(spans) for at in range(start, end)]
        if list(indexes) != expected:
            raise _misplaced(indexes, expected)
        return dict(zip(*columns, strict=True))


def _name(body: bytes) -> str | None:
    try:
        leaf = decode_leaf(body)
    except RequestError:
        return None
    return leaf.request_id if isinstance(leaf, RequestServed) else None


def _misplaced(indexes: Sequence[int], expected: Sequence[int]) -> EvidenceAltered:
    for found, wanted in zip(indexes, expected, strict=False):
        if found > wanted:
            return _altered(wanted, "deleted: there is no such row")
        if found < wanted:
            return _altered(found, "inserted: two rows have this index")
    if len(indexes) > len(expected):
        return _altered(indexes[-1], "inserted: two rows have this index")
    return _altered(expected[len(indexes)], "deleted: there is no such row")


def _altered(index: int, told: str) -> EvidenceAltered:
    return EvidenceAltered(index, f"leaf {index}: {told}")
