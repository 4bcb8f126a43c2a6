"""Where a group stands in one input partition, and what that means for the lane that opens there. Pure.

    committed < start     retention was faster            answered    the last request with a result
    committed > end       the log was cut                 moved       the last one on another retry topic
    another topic id      the topic was made anew         neither     nothing is known to be decided
    lacking               nowhere to write to

`tests/cli/test_offsets.py`.
"""

from dataclasses import dataclass

from chimera.agents.lanes.commit_loop import Halted
from chimera.agents.lanes.history import Bounds, Decided
from chimera.agents.lanes.opening import require_possible
from chimera.agents.lanes.partners import halts_for
from chimera.topics.producers import Committed


@dataclass(frozen=True, slots=True)
class Position:
    """One input partition. Readable offsets are `start` to `end` - 1."""

    topic: str
    partition: int
    topic_id: str
    start: int
    end: int
    committed: Committed | None
    answered: int | None = None  # of requests: looked for in the latest results only
    moved: int | None = None
    lacking: tuple[str, ...] = ()  # topics that should have the partition, too

    @property
    def lag(self) -> int:
        """Requests that are not committed."""
        first = self.committed.offset if self.committed else self.start
        return max(0, self.end - max(first, self.start))

    @property
    def restored(self) -> int | None:
        """Where to go on after the last request with an outcome; None: no result tells.

        Of a topic that was made anew none does: they may be those of its namesake.
        """
        last = Decided(self.answered, self.moved).last
        return None if last is None or self.is_anew else last + 1

    @property
    def is_anew(self) -> bool:
        """Whether the offset is another topic's, of the same name."""
        known = self.committed.topic_id if self.committed else ""
        return bool(known) and known != self.topic_id

    @property
    def trouble(self) -> str:
        """Why a lane that opens here would halt; empty: it would not."""
        if self.lacking:
            return halts_for(self.lacking, self.partition)
        if self.committed is None:
            last = Decided(self.answered, self.moved).last
            how = "answered" if last == self.answered else "to be tried again"
            return "" if last is None else f"no offset, but {last} is {how}"
        try:
            require_possible(self.committed, Bounds(self.start, self.end), self.topic_id)
        except Halted as halted:
            return halted.reason
        return ""

    def consequences(self, offset: int) -> tuple[range, range]:
        """Of going on there: requests that are passed over, and those that get another outcome."""
        known = 0 if self.committed is None or self.is_anew else self.committed.offset
        decided = max(self.restored or 0, known) or self.start
        return range(decided, offset), range(offset, min(decided, self.end))
