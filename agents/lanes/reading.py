"""How a lane's partition is read: how far ahead, unread or not, and again where something is missing.

    room       what executors have follows their rate (`pace.py`); full: the partition pauses, half:
               it resumes
    blocks     a run goes on unread unless something speaks against it; the more come back, the fewer go
    holes      what was left out is asked for again, a few times; then it is lost

It knows nothing of outcomes, and acts on the consumer alone. `tests/agents/test_lane.py` and
`test_lane_blocks.py` drive it through the lane.
"""

from typing import Any

from chimera.agents.lanes.fetched import Run
from chimera.agents.lanes.pace import Pace
from chimera.agents.lanes.window import Hole, Window
from chimera.agents.shared import Shared
from chimera.schemas.work import Block

READ_HERE = 64  # runs that a lane reads itself, at most, after blocks came back again and again
LOOKS = 3  # a rebalance explains one hole, two are bad luck; after so many it is really there

AnyWindow = Window[Any, Any, Any]


class Reading:
    """Of one lane."""

    def __init__(self, shared: Shared, topic: str, partition: int) -> None:
        self._where = topic, partition
        self._flow = shared.flow
        self._holes = shared.metrics.holes
        self._serving = shared.settings.serving
        fetch = shared.settings.fetch
        self._block_records = fetch.block_records
        self._pace = Pace(
            fetch.max_run_records,
            self._serving.window_records,
            self._serving.decide_within_ms / 1000,
        )
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

    def filled(self, window: AnyWindow, now_s: float) -> None:
        """The window holds more than before."""
        self._looks = 0
        self._pace.given(now_s)
        if (
            window.undecided >= self._pace.limit
            or len(window) >= self._serving.window_records
            or window.bytes >= self._serving.window_bytes
        ):
            self.pause()

    def answered(self, records: int) -> None:
        """So many more are decided by what executors said."""
        self._pace.answered(records)

    def committed(self, window: AnyWindow, now_s: float, waiting: int) -> None:
        """The window holds less than before; so many of it are not with executors."""
        self._pace.measure(now_s, window.undecided - waiting)
        self.emptied(window)

    def emptied(self, window: AnyWindow) -> None:
        """The window holds less than before."""
        if (
            window.undecided <= self._pace.limit // 2
            and len(window) <= self._serving.window_records // 2
            and window.bytes <= self._serving.window_bytes // 2
        ):
            self.resume()

    def is_behind(self, window: AnyWindow) -> bool:
        """Whether there is a backlog: here, as the window is nearly full, or still on the broker."""
        much = self._pace.limit // 2
        end = self._flow.end(*self._where)
        return len(window) >= much or (end is not None and end - window.next >= much)

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
