"""The steps of a commit, timed, and where fail-points strike."""

import time
from collections.abc import Callable

from chimera.agents.lanes.lane_metrics import LaneMetrics

_STAGE_ENDS = {
    "after_produce": "produce",
    "after_send_offsets": "offsets",
    "after_commit": "end",
}


class Stages:
    """Gives each producer a clock of its own; all visit the same fail-points."""

    def __init__(self, metrics: LaneMetrics, visit: Callable[[str], None]) -> None:
        self.visit = visit
        self._seconds = metrics.transaction_stage_seconds

    def new(self) -> Callable[[str], None]:
        """What a producer calls at each step of a transaction."""
        since = time.monotonic()

        def step(name: str) -> None:
            nonlocal since
            self.visit(name)
            now = time.monotonic()
            if stage := _STAGE_ENDS.get(name):
                self._seconds.labels(stage).observe(now - since)
            since = now

        return step
