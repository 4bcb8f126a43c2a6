"""`audit_log` and `audit_checkpoints`, read: a log for who verifies it, out of a ClickHouse nobody trusts.

A request is found by its index, and proved from the leaf hashes of two tiles and the roots of
subtrees that rest beside the leaves (`subtrees`): few rows, however long the log. A root that is not
there, because an older release wrote the row, is made of leaf hashes. Rows that contradict
themselves are refused here, and named; whatever else was done to them, the signed root tells.
`tests/stores/test_audit_table.py`.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from chimera.schemas.errors import EvidenceAltered, RequestError
from chimera.schemas.transparency import subtrees
from chimera.schemas.transparency.leaves import RequestServed, decode_leaf
from chimera.schemas.transparency.log_records import Indexed
from chimera.schemas.transparency.merkle import HASH_BYTES, MAX_SIZE, leaf_hash, root
from chimera.schemas.transparency.row import Row
from chimera.schemas.transparency.subtrees import Place, Subtrees, Wanted
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
        """A page at a time, the next one fetched meanwhile; two rows of one index follow each other.

        However large `size` is, and wherever rows have holes, no more is asked for than is there.
        """
        with ThreadPoolExecutor(1, "audit-rows") as fetching:
            ahead = fetching.submit(self._page, 0, size)
            while (found := ahead.result())[1]:
                ahead = fetching.submit(self._page, found[0], size)
                yield from found[1]

    def _page(self, start: int, size: int) -> tuple[int, list[Row]]:
        """Where the next page begins, and the rows of the first one from `start` on that has any."""
        while start < size:
            end = min(size, start + _PAGE_ROWS)
            page = self._clickhouse.columns(
                ("log_index", "body", "leaf_hash", "chain_hash"),
                f"FROM {_LEAVES} WHERE log_index >= {{start:UInt64}} AND log_index < {{end:UInt64}}"
                " ORDER BY log_index, log_offset",
                {"start": start, "end": end},
            )
            if page[0]:
                return end, list(map(Row, *page))
            start = self._first_from(end)
        return size, []

    def _first_from(self, start: int) -> int:
        """The first index from there on that has a row; past every log: none has."""
        ((count, first),) = self._clickhouse.rows(
            f"SELECT count(), min(log_index) FROM {_LEAVES} WHERE log_index >= {{start:UInt64}}",
            {"start": start},
        )
        return int(first) if count else MAX_SIZE + 1

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
        return subtrees.path(index, size, *self._known(subtrees.wanted(index, size)))

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
        tail = end - end % subtrees.TILE
        kept, leaves = self._known(Wanted(subtrees.peaks(end), [(tail, end)]))
        return Subtrees(end // subtrees.TILE, list(kept.values()), list(leaves.values()))

    def _known(self, wanted: Wanted) -> tuple[dict[Place, bytes], dict[int, bytes]]:
        """Roots by their places, leaf hashes by their indexes, each in the order in which it is wanted."""
        inside = [at for start, end in wanted.leaves for at in range(start, end)]
        beside = sorted({place.last for place in wanted.places})
        spans = " OR ".join(
            f"log_index >= {one} AND log_index < {end}" for one, end in wanted.leaves
        )
        indexes, hashes, roots = self._clickhouse.columns(
            ("log_index", "leaf_hash", "subtrees"),
            f"FROM {_LEAVES} WHERE {spans} OR log_index IN {{at:Array(UInt64)}} ORDER BY log_index",
            {"at": beside},
        )
        expected = sorted({*inside, *beside})
        if list(indexes) != expected:
            raise _misplaced(indexes, expected)
        leaf_at, roots_at = (
            dict(zip(indexes, hashes, strict=True)),
            dict(zip(indexes, roots, strict=True)),
        )
        kept = {place: self._root(place, roots_at[place.last]) for place in wanted.places}
        return kept, {at: leaf_at[at] for at in inside}

    def _root(self, place: Place, beside: bytes) -> bytes:
        found = beside[place.number * HASH_BYTES : (place.number + 1) * HASH_BYTES]
        if len(found) == HASH_BYTES:
            return found
        _, leaves = self._known(Wanted((), [place.range]))
        return root(list(leaves.values()))


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
