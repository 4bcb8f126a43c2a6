"""How a lane's partition is read: how far ahead, unread or not, and again where something is missing.

    room       the window's limit follows the lane's rate; full: the partition pauses, half: it resumes
    blocks     a run goes on unread unless something speaks against it; the more come back, the fewer go
    holes      what was left out is asked for again, a few times; then it is lost

It knows nothing of outcomes, and acts on the consumer alone. `tests/agents/test_lane.py` and
`test_lane_blocks.py` drive it through the lane.
"""

from chimera.agents.lanes.fetched import Run
from chimera.agents.lanes.window import Hole
from chimera.agents.shared import Shared
from chimera.schemas.work import Block

READ_HERE = 64  # runs that a lane reads itself, at most, after blocks came back again and again
LOOKS = 3  # a rebalance explains one hole, two are bad luck; after so many it is really there
LEAST_RECORDS = 64  # a slow lane's window never shrinks below this
WINDOW_SHARE = 0.25  # a window should drain in this share of `decide_within_ms`


class Reading:
    """Of one lane."""

    def __init__(self, shared: Shared, topic: str, partition: int) -> None:
        self._where = topic, partition
        self._flow = shared.flow
        self._holes = shared.metrics.holes
        self._serving = shared.settings.serving
        self._block_records = shared.settings.fetch.block_records
        self._limit = self._serving.window_records
        self._paused = self._closed = False
        self._looks = 0
        self._read_here = 0  # so many more runs are read by the lane
        self._came_back = 0  # blocks, since one was answered
        self._has_seen_deadlines = False
        self.lost: Hole | None = None  # set when requests vanished from the log before we read them

    # Room.

    def pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._flow.pause(*self._where)

    def resume(self) -> None:
        if self._paused and not self._closed:
            self._paused = False
            self._flow.resume(*self._where)

    def close(self) -> None:
        """Never resume again."""
        self._closed = True

    def filled(self, records: int, size: int) -> None:
        """The window holds so much now, and more than before."""
        self._looks = 0
        if records >= self._limit or size >= self._serving.window_bytes:
            self.pause()

    def emptied(self, records: int, size: int) -> None:
        """The window holds so much now, and less than before."""
        if records <= self._limit // 2 and size <= self._serving.window_bytes // 2:
            self.resume()

    def follow(self, rate: float) -> None:
        """The lane decides so many requests a second: hold no more than it can answer in time."""
        wanted = rate * self._serving.decide_within_ms / 1000 * WINDOW_SHARE
        self._limit = max(LEAST_RECORDS, min(self._serving.window_records, int(wanted)))

    def is_behind(self, records: int) -> bool:
        """Whether a window with so many records has a backlog: it is full, or nearly so."""
        return records >= self._limit // 2

    # Blocks.

    def block(self, run: Run, lane: int) -> Block | None:
        """The run as a block of that lane; None if the lane reads it."""
        if self._read_here:
            self._read_here -= 1
            return None
        return run.block(lane, self._block_records, search=self._has_seen_deadlines)

    def block_came_back(self) -> None:
        """More like it will follow: read the next runs here, each time twice as many."""
        self._read_here = min(READ_HERE, 1 << self._came_back)
        self._came_back = min(self._came_back + 1, READ_HERE)

    def block_was_answered(self) -> None:
        self._came_back = 0

    def deadlines_were_seen(self) -> None:
        """From now on blocks are searched for them."""
        self._has_seen_deadlines = True

    # Holes.

    def look_for(self, hole: Hole) -> bool:
        """Read again from where something is missing; False: it stays missing, and is `lost`."""
        self._holes.inc()
        self._looks += 1
        if self._looks <= LOOKS:
            self._flow.seek(*self._where, hole.expected)
            return True
        self.lost = hole
        self.pause()
        return False

    def read_again(self, position: int) -> None:
        """What seemed lost is there: it was overtaken by runs that were on their way."""
        self.lost, self._looks = None, 0
        self._flow.seek(*self._where, position)
        self.resume()
