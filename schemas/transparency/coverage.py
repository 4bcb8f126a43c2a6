"""Which offsets of a lane have leaves: the count that finds a request that never became a leaf.

Segments of the journal follow each other, so where one begins behind the end of the one before,
requests between have no leaf; where it begins before that end, some have two. A window that had more
requests than it has rows lacks leaves within. A lane is counted
from reconciliation to reconciliation, which compares its end with the offset that the lanes' group
has committed and becomes a leaf itself. Pure. `tests/schemas/transparency/test_coverage.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from chimera.schemas.columns import Numbers
from chimera.schemas.journal import SegmentHead
from chimera.schemas.transparency.by_partition import ByPartition
from chimera.schemas.transparency.leaves import OffsetsReconciled


class Covered(msgspec.Struct, frozen=True, array_like=True):
    """Of one lane since it was reconciled last: offsets `first` to `next` - 1."""

    first: int
    next: int
    leaves: int = 0
    missing: int = 0  # offsets between segments, and requests of windows without a row
    repeated: int = 0  # leaves of requests that had one
    owed: int = 0  # rows of the last window that have not come

    def with_segment(self, head: SegmentHead) -> Covered:
        """Before its rows."""
        missing, owed = self.missing + max(0, head.start - self.next), self.owed
        if head.requests != 0:  # a window begins
            missing, owed = missing + owed, head.requests or 0
        return msgspec.structs.replace(self, missing=missing, owed=owed)

    def with_rows(self, offsets: Numbers) -> Covered:
        """Of a segment that `with_segment` has seen; ascending."""
        again = int(np.searchsorted(offsets, self.next))
        return msgspec.structs.replace(
            self,
            leaves=self.leaves + len(offsets),
            repeated=self.repeated + again,
            owed=max(0, self.owed - len(offsets)),
        )

    def up_to(self, end: int) -> Covered:
        """After a segment's rows."""
        return msgspec.structs.replace(self, next=max(self.next, end))

    def reconciled(
        self, topic: str, partition: int, committed: int, *, at_ms: int, tenant: str
    ) -> tuple[OffsetsReconciled, Covered]:
        """The leaf, and where counting begins anew; `committed`: the group's own offset."""
        end = max(self.next, committed)
        missing = self.missing + self.owed + max(0, committed - self.next)
        leaf = OffsetsReconciled(
            at_ms=at_ms,
            tenant=tenant,
            topic=topic,
            partition=partition,
            first_offset=str(self.first),
            end_offset=str(end),
            committed=self.leaves - self.repeated + missing,
            leaves=self.leaves,
            missing=missing,
            repeated=self.repeated,
        )
        return leaf, Covered(end, end)


Lanes = Mapping[str, Covered]
"""By `<topic>:<partition>`."""

_FORM = ByPartition[Covered]("what is covered", Covered)
encode_lanes, decode_lanes = _FORM.encode, _FORM.decode
