"""What a log says of each lane while it is gone over: repeats, and requests that never became a leaf.

A lane's offsets ascend, so a leaf that is not above all before it is of a request that had one. By
itself a log cannot show what was left out of it; its reconciliations count it. So each of them must
begin where the one before it ended, must have counted the leaves that are there, and must miss none,
whichever guarantee the lane gave: at least once a leaf is there before its offset is committed, too.
Pure. `tests/schemas/transparency/test_lanes.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec


class Reconciled(msgspec.Struct, frozen=True):
    """A reconciliation, as far as it counts; offsets and numbers as they were written, or as numbers."""

    topic: str
    partition: int
    first_offset: int
    end_offset: int  # one past the last
    leaves: int
    missing: int


@dataclass(slots=True)
class _Lane:
    highest: int = -1  # offset that has a leaf
    leaves: int = 0  # since it was reconciled last
    end: int | None = None  # where that one ended; None: there was none
    index: int = 0  # and its leaf


class Lanes:
    """Of one log, from its first leaf on."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self.begins: dict[tuple[str, int], int] = {}  # the offset from which each was counted first

    def is_repeat(self, topic: str, partition: int, offset: int) -> bool:
        """Whether a request's leaf is not its first; it is counted."""
        lane = self._lanes.get((topic, partition))
        if lane is None:
            lane = self._lanes[topic, partition] = _Lane()
        lane.leaves += 1
        if offset <= lane.highest:
            return True
        lane.highest = offset
        return False

    def reconcile(self, index: int, said: Reconciled) -> Iterator[str]:
        """What does not agree with the leaves before it; `index` is of the leaf that says it."""
        lane = self._lanes.setdefault((said.topic, said.partition), _Lane())
        name = f"{said.topic}-{said.partition}"
        self.begins.setdefault((said.topic, said.partition), said.first_offset)
        if lane.end not in (None, said.first_offset):
            yield (
                f"reconciliation of {name} begins at offset {said.first_offset},"
                f" and leaf {lane.index} ended at {lane.end}"
            )
        if lane.leaves != said.leaves:
            yield f"reconciliation of {name} counted {said.leaves} leaves, and {lane.leaves} are there"
        if said.missing:
            yield (
                f"{said.missing} requests of {name} have no leaf, between the offsets"
                f" {said.first_offset} and {said.end_offset}"
            )
        lane.leaves, lane.end, lane.index = 0, said.end_offset, index
