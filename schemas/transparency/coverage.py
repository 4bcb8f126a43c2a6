"""Which offsets of a lane have leaves: the count that finds a request that never became a leaf.

Segments of the journal follow each other, so where one begins behind the end of the one before,
requests between have no leaf; where it begins before that end, some have two. A window that had more
requests than it has rows lacks leaves within, and one that had fewer has leaves of none. A lane is counted
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
    repeated: int = 0  # leaves of requests that had one, and rows beyond a window's requests
    owed: int | None = (
        None  # of the last window, requests less rows; none: its node has not counted
    )

    def with_segment(self, head: SegmentHead) -> Covered:
        """Before its rows."""
        missing = self.missing + max(0, head.start - self.next)
        found = msgspec.structs.replace(self, missing=missing)
        if head.requests == 0:  # a window goes on
            return found
        owed = None if isinstance(head.requests, msgspec.UnsetType) else head.requests
        return msgspec.structs.replace(found._settled(), owed=owed)

    def with_rows(self, offsets: Numbers) -> Covered:
        """Of a segment that `with_segment` has seen; ascending."""
        again = int(np.searchsorted(offsets, self.next))
        return msgspec.structs.replace(
            self,
            leaves=self.leaves + len(offsets),
            repeated=self.repeated + again,
            owed=None if self.owed is None else self.owed - len(offsets),
        )

    def up_to(self, end: int) -> Covered:
        """After a segment's rows."""
        return msgspec.structs.replace(self, next=max(self.next, end))

    def reconciled(
        self, topic: str, partition: int, committed: int, *, at_ms: int, tenant: str
    ) -> tuple[OffsetsReconciled, Covered]:
        """The leaf, and where counting begins anew; `committed`: the group's own offset."""
        found = self._settled()
        end, missing = max(self.next, committed), found.missing + max(0, committed - self.next)
        leaf = OffsetsReconciled(
            at_ms=at_ms,
            tenant=tenant,
            topic=topic,
            partition=partition,
            first_offset=str(self.first),
            end_offset=str(end),
            committed=self.leaves - found.repeated + missing,
            leaves=self.leaves,
            missing=missing,
            repeated=found.repeated,
        )
        return leaf, Covered(end, end)

    def _settled(self) -> Covered:
        """All rows of the last window have come."""
        owed = self.owed or 0
        return msgspec.structs.replace(
            self,
            missing=self.missing + max(0, owed),
            repeated=self.repeated + max(0, -owed),
            owed=None,
        )


Lanes = Mapping[str, Covered]
"""By `<topic>:<partition>`."""

_FORM = ByPartition[Covered]("what is covered", Covered)
encode_lanes, decode_lanes = _FORM.encode, _FORM.decode
