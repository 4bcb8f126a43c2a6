"""The pool's look-out: it ends executors that hang, and sees what the kernel ended for lack of memory.

One hangs that does the same thing for longer than a call may take, or is not started after
`START_WITHIN_S`. While this loop was held up itself nobody is judged: they may wait for it.
`tests/workers/test_executor_deaths.py` hangs and stops them.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable

import structlog

from chimera.workers import deaths
from chimera.workers.handle import Handle

log = structlog.get_logger(__name__)

LOOK_S = 0.25
OOM_SAMPLES = 20  # looks back: the kernel needs time to end a large process
START_WITHIN_S = 300.0  # models may be large, a compiler slow; a longer start is a hang


class Lookout:
    """Over the executors that `handles` gives; `keep` runs until cancelled."""

    def __init__(self, handles: Callable[[], Iterable[Handle]], timeout_s: float) -> None:
        self._handles = handles
        self._timeout_s = timeout_s
        self._oom_kills = deque([deaths.count_oom_kills()], OOM_SAMPLES)

    @property
    def oom_kills(self) -> int:
        """How many processes the kernel has ended lately."""
        return deaths.count_oom_kills() - self._oom_kills[0]

    async def keep(self) -> None:
        last_s = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = time.monotonic()
            was_held_up = now_s - last_s > 4 * LOOK_S
            last_s = now_s
            if was_held_up:
                continue
            self._oom_kills.append(deaths.count_oom_kills())
            for handle in self._handles():
                self._judge(handle, now_s)

    def _judge(self, handle: Handle, now_s: float) -> None:
        if not handle.started.done():
            if now_s - handle.spawned_s > START_WITHIN_S:
                handle.kill(deaths.HUNG)
            return
        since_s = handle.stuck_since_s()
        if since_s is not None and now_s - since_s > self._timeout_s:
            log.error("executor_hangs", slot=handle.configuration.slot, seconds=now_s - since_s)
            handle.kill(deaths.HUNG)
