"""What was done where the rows first do not follow from one another.

Nobody who alters rows alters them at random: a body, a pair of rows, one row more or less. Each
leaves another trace in three columns that depend on one another, in the row itself or in those
behind it. Where two traces are alike (one leaf changed with its hash, or one taken out and the rest
renumbered) the size that was signed decides. Whatever is named, the first bad index is right.
`tests/schemas/transparency/test_tampering.py` has each kind.
"""

from chimera.schemas.transparency.chain import link
from chimera.schemas.transparency.merkle import leaf_hash
from chimera.schemas.transparency.row import Row
from chimera.schemas.transparency.tampering import Fault, Kind


class Break:
    """The first row that is not what should stand there."""

    def __init__(
        self,
        expected: int,
        row: Row,
        before: Row | None,
        previous: bytes,
        previous_but_one: bytes,
    ) -> None:
        """`previous` is the chain hash of the row before, the other that of the one before it."""
        self.index = expected
        self._row, self._before, self._previous = row, before, previous
        self._last = row
        self._next: Row | None = None
        self._is_body_wrong = leaf_hash(row.body) != row.leaf_hash
        self._is_chain_wrong = link(previous, row.leaf_hash) != row.chain_hash
        self._fault: Fault | None = None
        is_place_right = row.log_index == expected and not self._is_body_wrong
        if is_place_right and before and link(previous_but_one, row.leaf_hash) == row.chain_hash:
            self.index = expected - 1
            self._fault = Fault(
                Kind.INSERTED,
                self.index,
                self.index,
                "the leaf behind it follows the one before it",
            )

    def follow(self, row: Row) -> None:
        """A row behind it, in order."""
        self._next = self._next or row
        if self._fault is None:
            self._fault = self._explained_by(row)
        self._last = row

    def fault(self, missing: int) -> Fault:
        """What was done, once all rows were seen; `missing` are fewer than were signed."""
        row, at = self._row, self.index
        if self._fault is not None:
            return self._fault
        if row.log_index > at:
            return Fault(Kind.DELETED, at, row.log_index - 1, f"leaf {row.log_index} comes next")
        if row.log_index < at:
            return self._again()
        if self._is_body_wrong and not self._is_chain_wrong:
            return Fault(Kind.CHANGED, at, at, "its bytes are not those of its leaf hash")
        if self._is_body_wrong and link(self._previous, leaf_hash(row.body)) == row.chain_hash:
            return Fault(Kind.CHANGED, at, at, "its leaf hash alone; its bytes are as they were")
        if self._is_only_chain():
            return Fault(Kind.CHANGED, at, at, "its chain hash alone; its bytes are as they were")
        if missing and not self._is_body_wrong:
            told = f"the chain breaks, and {missing} fewer leaves are here than were signed"
            return Fault(Kind.DELETED, at, at + missing - 1, told)
        return Fault(Kind.CHANGED, at, at, "the chain breaks here, and goes on behind it")

    def _explained_by(self, row: Row) -> Fault | None:
        """A later row that should stand here, or whose body should."""
        mine, at = self._row, self.index
        told = f"leaf {row.log_index} stands in its place"
        if mine.log_index != at:
            if row.log_index == at and mine.log_index > at:
                return Fault(Kind.SWAPPED, at, mine.log_index, f"it stands behind {mine.log_index}")
            return None
        if self._is_body_wrong:
            if leaf_hash(row.body) == mine.leaf_hash:
                return Fault(Kind.SWAPPED, at, row.log_index, f"its bytes stand at {row.log_index}")
            return None
        should_be = link(self._previous, row.leaf_hash)
        if should_be == mine.chain_hash:
            return Fault(Kind.SWAPPED, at, row.log_index, f"its leaf stands at {row.log_index}")
        if should_be != row.chain_hash:
            return None
        came_before = row.chain_hash if self._last is mine else self._last.chain_hash
        if link(came_before, mine.leaf_hash) == mine.chain_hash:
            return Fault(Kind.SWAPPED, at, row.log_index, told)
        last = max(at, row.log_index - 1)
        return Fault(Kind.INSERTED, at, last, f"leaf {row.log_index} should stand here")

    def _again(self) -> Fault:
        row, before = self._row, self._before
        is_other = before is not None and before.log_index == row.log_index and before != row
        if is_other:
            told = "two leaves that are not the same have this index"
            return Fault(Kind.INSERTED, row.log_index, row.log_index, told)
        told = f"it stands here again, where leaf {self.index} should"
        return Fault(Kind.REPEATED, row.log_index, row.log_index, told)

    def _is_only_chain(self) -> bool:
        """Whether the next row follows from what this row's chain hash should be."""
        if self._is_body_wrong or self._next is None:
            return False
        should_be = link(self._previous, self._row.leaf_hash)
        return link(should_be, self._next.leaf_hash) == self._next.chain_hash
