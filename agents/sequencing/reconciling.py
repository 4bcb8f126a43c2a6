"""Reconciliation: what the lanes' group has committed, against what has leaves; each hour a leaf a lane.

    due ── the group's offsets ── the journal's ends ── all below is sequenced ── leaves

The order matters: a segment is in the transaction that commits its offset, so once the journal is
read up to an end that was asked for later, an offset without a leaf never gets one.
`tests/integration/test_sequencer.py` commits offsets that no segment tells of.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (aiokafka ships no type information)

import time
from collections.abc import Mapping

import structlog

from chimera.agents.sequencing.audit_log import AuditLog
from chimera.agents.sequencing.sequence import Draft
from chimera.schemas.model_names import DEFAULT_TENANT
from chimera.schemas.transparency.by_partition import key
from chimera.schemas.transparency.coverage import Covered
from chimera.schemas.transparency.leaves import encode_leaf
from chimera.topics.producers import Where

log = structlog.get_logger(__name__)


class Reconciling:
    """Of one log; times are `time.monotonic`'s."""

    def __init__(self, records: AuditLog, every_s: float) -> None:
        self._records, self._every_s = records, every_s
        self._due_s = time.monotonic() + every_s
        self._committed: Mapping[Where, int] = {}
        self._ends: Mapping[Where, int] | None = None  # None: none is under way

    async def ready(self, now_s: float) -> Mapping[Where, int]:
        """The lanes' offsets, once their leaves are all there; nothing at other times."""
        if self._ends is None and now_s >= self._due_s:
            self._committed = await self._records.committed_by_lanes()
            self._ends = await self._records.journal_ends()
        if self._ends is None or not await self._records.has_read(self._ends):
            return {}
        self._ends, self._due_s = None, now_s + self._every_s
        return self._committed


def reconcile(draft: Draft, committed: Mapping[Where, int], at_ms: int) -> None:
    """A leaf for each lane; one that the log sees for the first time is counted from here."""
    for (topic, partition), offset in sorted(committed.items()):
        lane = key(topic, partition)
        covered = draft.lanes.get(lane, Covered(offset, offset))
        leaf, anew = covered.reconciled(
            topic, partition, offset, at_ms=at_ms, tenant=DEFAULT_TENANT
        )
        draft.add(encode_leaf(leaf), lane, anew)
        if leaf.missing or leaf.repeated:
            log.error(
                "offsets_not_reconciled",
                topic=topic,
                partition=partition,
                first=leaf.first_offset,
                end=leaf.end_offset,
                missing=leaf.missing,
                repeated=leaf.repeated,
            )
