"""The lanes of a node: one for each partition that is assigned to it, with the loop that commits it.

    begin ── a run comes by partition ── an executor answers by the lane's number ── leave: what is decided is
                                                                                   committed, the rest dropped

What a lane cannot take is damage, or a fault of ours, and ends the process: nothing may go on behind it.
`tests/integration/test_harness_sabotage.py` has a lane that fails, `test_cut_log.py` a log that was cut.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any

import structlog
from faust.types import TP

from chimera.agents.lanes.commit_loop import CUT, MADE_ANEW, CommitLoop
from chimera.agents.lanes.fetched import Run
from chimera.agents.lanes.lane import Lane
from chimera.agents.shared import Shared
from chimera.schemas.stored import Damaged
from chimera.schemas.work import Block, Deferred, Outcomes, Results

log = structlog.get_logger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[Any]"]


class Assigned:
    """None at first."""

    def __init__(
        self,
        shared: Shared,
        new_loop: Callable[[Lane], CommitLoop],
        spawn: Spawn,
        fatal: Callable[[str], None],
    ) -> None:
        """`spawn`: a task that ends the process if it fails; `fatal` does, and says why."""
        self._shared, self._new_loop = shared, new_loop
        self._spawn, self._fatal = spawn, fatal
        self._lanes: dict[TP, Lane] = {}
        self._loops: dict[TP, tuple[CommitLoop, asyncio.Task[Any]]] = {}
        self._by_serial: dict[int, Lane] = {}
        self._serial = 0

    def __contains__(self, where: TP) -> bool:
        return where in self._lanes

    @property
    def partitions(self) -> set[TP]:
        return set(self._lanes)

    def begin(self, where: TP) -> None:
        self._serial += 1
        lane = Lane(self._shared, where.topic, where.partition, self._serial)
        self._lanes[where] = self._by_serial[lane.serial] = lane
        loop = self._new_loop(lane)
        self._loops[where] = (loop, self._spawn(loop.run()))

    async def leave(self, wheres: Iterable[TP], within_s: float) -> None:
        """What is decided is committed, for at most that long."""
        gone = [where for where in wheres if where in self._lanes]
        await asyncio.gather(*(self._loops[where][0].finish(within_s) for where in gone))
        for where in gone:
            task = self._loops.pop(where)[1]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            del self._by_serial[self._lanes.pop(where).serial]
            self._shared.metrics.forget(*where)

    # What comes.

    def take(self, run: Run) -> bool:
        """False: it is nobody's here any more; whoever has the partition reads it again."""
        lane = self._lanes.get(TP(run.topic, run.partition))
        if lane is None:
            return False
        try:
            lane.put(run)
        except Exception as error:  # the boundary: Faust would go on with the run after it
            log.exception("run_refused", topic=run.topic, partition=run.partition)
            self._fatal(f"{run.topic}-{run.partition}: {error!r}")
        return True

    def answer(self, outcomes: Outcomes) -> bool:
        """False, of this and the next: nobody here waits for it any more."""
        lane = self._by_serial.get(outcomes.lane)
        if lane is not None:
            lane.answer(outcomes)
        return lane is not None

    def answer_block(self, results: Results) -> bool:
        lane = self._by_serial.get(results.lane)
        if lane is not None:
            lane.answer_block(results)
        return lane is not None

    def unread(self, block: Block, accused: Collection[int]) -> None:
        self._of_serial(block.lane, lambda lane: lane.unread(block, accused))

    def defer(self, deferred: Deferred) -> None:
        self._of_serial(deferred.lane, lambda lane: lane.defer(deferred))

    def _of_serial(self, serial: int, read: Callable[[Lane], None]) -> None:
        lane = self._by_serial.get(serial)
        if lane is not None:
            try:
                read(lane)
            except Damaged as error:
                self._fatal(f"{lane.topic}-{lane.partition}: {error}")

    def accused(self, serial: int) -> Lane | None:
        """Whose requests an executor died with."""
        return self._by_serial.get(serial)

    # What happens to all.

    def tick(self, now_s: float, now_ms: int) -> None:
        for lane in self._lanes.values():
            lane.tick(now_s, now_ms)

    def measure(self, end_of: Callable[[TP], int | None]) -> None:
        """Gauges that nothing else sets; `end_of`: where a partition ends, if that is known."""
        metrics = self._shared.metrics
        for where, lane in self._lanes.items():
            metrics.window_records.labels(*where).set(len(lane))
            metrics.deferred_records.labels(*where).set(lane.deferred)
            end = end_of(where)
            if end is not None and lane.position is not None:
                metrics.lag_records.labels(*where).set(max(0, end - lane.position))

    def halt(self, topic: str) -> None:
        """The topic was deleted and made anew: its offsets mean other requests."""
        for where, lane in self._lanes.items():
            if where.topic == topic:
                _condemn(lane, f"{topic}: {MADE_ANEW}")

    def halt_cut(self, topic: str, partition: int, end: int) -> None:
        """What a lane has read is not there any more, and what comes will have the same offsets."""
        lane = self._lanes.get(TP(topic, partition))
        if lane is not None:
            _condemn(lane, f"{topic}-{partition} ends at {end}, before what was read of it: {CUT}")


def _condemn(lane: Lane, reason: str) -> None:
    """The first reason stays."""
    if not lane.condemned:
        lane.condemn(reason)
