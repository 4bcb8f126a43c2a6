"""Requests of a lane on their way to executors: unread, read, or again, in offset order.

What may not go together any more, since it was at work when an executor died, goes alone. Each way
passes the same fail-points. `tests/agents/test_lane.py` drives it through the lane.
"""

import time
from collections.abc import Iterable

from chimera.agents.lanes.intake import Rules, take_in
from chimera.agents.lanes.outcomes import Outcome
from chimera.agents.lanes.window import Window
from chimera.agents.shared import Shared
from chimera.schemas.stored import Stored as Raw
from chimera.schemas.work import Block, Work


class Submitting:
    """Of one lane."""

    def __init__(self, shared: Shared, rules: Rules) -> None:
        self._executors, self._step = shared.executors, shared.step
        self._rules = rules

    def block(self, block: Block) -> None:
        """As the broker stores it."""
        self._step("before_compute")
        block.entered_ns = time.monotonic_ns()
        self._executors.submit_block(block)
        self._step("mid_compute")

    def work(self, work: Work) -> None:
        if work.offsets:
            self._step("before_compute")
            self._executors.submit(work)
            self._step("mid_compute")

    def again(
        self, window: Window[Raw, Block, Outcome], offsets: Iterable[int], *, alone: bool = False
    ) -> None:
        """Those of the window's requests that are undecided; `alone`: one by one."""
        records = [window.record(at) for at in sorted(offsets) if window.is_undecided(at)]
        if records:
            taken = take_in(
                self._rules,
                records,
                entered_ns=time.monotonic_ns(),
                isolate=alone,
            )
            self.work(taken.work)
