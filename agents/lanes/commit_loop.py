"""The loop that makes a lane's decided prefix visible, and what it does when that goes wrong.

    opening ── fence ── read position ── committing ◂─┐
                  ▴                          │ pause of `commit.linger_ms`
                  └── fenced, still ours ────┴────────┘
    fenced and no longer ours: the lane is dropped      fenced twice within 60 s: the process ends
    a deadline passed, a refusal: the process ends (70) and its supervisor starts it again
    halted: nothing, until a command has moved the group's offset; then it opens as at first

The first fatal error is the lane's; whatever follows from it is not looked at. A producer that
failed is never used again.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from chimera.agents.lanes.committers import Committer
from chimera.agents.lanes.lane import Lane
from chimera.agents.lanes.lane_metrics import LaneMetrics
from chimera.agents.lanes.outcomes import (
    Composer,
    Entry,
    Error,
    Outcome,
    appended_ms,
    code_of,
    count_of,
    end_of,
)
from chimera.schemas.errors import ChimeraError
from chimera.schemas.settings import Settings
from chimera.topics.producers import Committed, Fenced, ProducerError

log = structlog.get_logger(__name__)

FENCES_APART_S = 60.0  # a second fence sooner means that somebody else is alive: leave it to them
NO_ERRORS = frozenset(("ok", "retry"))


ADVICE = "see `chimera offsets list`, resume with `chimera offsets restore` or `set`"
CUT = "its log was cut: only a new start of its node goes on"
MADE_ANEW = "it was deleted and made anew: only while no node runs may it be resumed"


class Halted(ChimeraError):
    """The lane may not continue by itself; the message says why, and which command resumes it."""

    def __init__(
        self,
        reason: str,
        committed: Committed | None = None,
        missing: range = range(0),
        advice: str = ADVICE,
    ) -> None:
        """`committed`: what the group had then; `missing`: offsets of requests that nobody answers."""
        super().__init__(f"{reason}: {advice}")
        self.reason, self.committed, self.missing = reason, committed, missing


Opening = Callable[[Committer], Awaitable[tuple[int, dict[int, int]]]]
"""Takes over, and finds the position and the deaths counted so far. Raises `Halted`."""


class CommitLoop:
    """Runs as one task; ends when the lane is closed, or ends the process."""

    def __init__(
        self,
        lane: Lane,
        opening: Opening,
        new_committer: Callable[[], Committer],
        compose: Composer,
        *,
        settings: Settings,
        metrics: LaneMetrics,
        fatal: Callable[[str], None],
        forget_deaths: Callable[[list[int]], None],
        take_errors: Callable[[list[Error]], None],
        take_halt: Callable[[Halted], None],
    ) -> None:
        """`take_errors` gets those of each transaction: they are final; `take_halt` each new halt."""
        self._lane = lane
        self._opening = opening
        self._new_committer = new_committer
        self._compose = compose.compose
        self._settings = settings
        self._metrics = metrics
        self._fatal = fatal
        self._forget_deaths = forget_deaths
        self._take_errors = take_errors
        self._take_halt = take_halt
        self._committer = new_committer()
        self._idle = asyncio.Event()
        self._revoked = asyncio.Event()
        self._dropped = False
        self._halted = ""  # why; empty: it is not
        self._fenced_at = -FENCES_APART_S

    async def run(self) -> None:
        """Open the lane, then commit until it is closed and nothing decided is left."""
        step = self._open
        try:
            while not self._dropped and not (self._lane.closed and not self._lane.ready):
                try:
                    await step()
                    step = self._next
                except Halted as halted:
                    await self._wait_for_command(halted)
                    step = self._open
        except ChimeraError as error:
            self._fatal(f"{self._lane.topic}-{self._lane.partition}: {error}")
        finally:
            self._show(0)
            self._idle.set()
            await self._committer.close()

    def _show(self, halted: int) -> None:
        self._metrics.halted.labels(self._lane.topic, self._lane.partition).set(halted)

    async def finish(self, within_s: float) -> None:
        """Commit what is decided, for at most that long, then stop."""
        self._lane.close()
        self._revoked.set()
        self._lane.decided.set()
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            log.warning("lane_left_undone", topic=self._lane.topic, partition=self._lane.partition)

    async def _open(self) -> None:
        position, deaths = await self._opening(self._committer)
        at = self._lane.position
        if self._halted and at is not None and position < at:  # what it holds may be other requests
            raise Halted(
                f"the group's offset {position} is behind {at}, where this lane was: only a new start "
                "of its node goes back",
                await self._committer.committed(),
            )
        self._lane.open(position, deaths)
        self._show(0)
        self._halted = ""

    async def _wait_for_command(self, halted: Halted) -> None:
        """Until the group's offset is another one, or the lane somebody else's; nobody is fenced."""
        self._show(1)
        if halted.reason != self._halted:
            self._halted = halted.reason
            where = {"topic": self._lane.topic, "partition": self._lane.partition}
            log.error("lane_halted", **where, reason=str(halted))
            self._take_halt(halted)
        await self._renew()
        while not await self._is_revoked(self._settings.kafka.heartbeat_interval_ms / 1000):
            with suppress(ProducerError):  # no broker answers: there is time
                if (
                    not self._lane.condemned
                    and await self._committer.committed() != halted.committed
                ):
                    return
        self._dropped = True

    async def _renew(self) -> None:
        """A producer that failed, or was fenced, is never used again."""
        await self._committer.close()
        self._committer = self._new_committer()

    async def _next(self) -> None:
        await self._lane.decided.wait()
        self._lane.decided.clear()
        if self._lane.condemned:
            raise Halted(self._lane.condemned)
        started = time.monotonic()
        behind = self._lane.behind
        commit = self._settings.commit
        prefix = self._lane.prefix(commit.max_records, commit.max_bytes)
        if not prefix:
            await self._look_at_the_log()
            return
        try:
            produced = self._compose(prefix, self._lane.journal)
            await self._committer.commit(produced, end_of(prefix[-1][0]))
        except Fenced as error:
            await self._recover(error)
            return
        took = time.monotonic() - started
        self._metrics.transaction_seconds.observe(took)
        self._metrics.total_seconds.observe(
            max(0.0, time.time() - appended_ms(prefix[0][0]) / 1000)
        )
        self._count(prefix)
        pause = (commit.busy_linger_ms if behind else commit.linger_ms) / 1000
        finished = self._lane.committed(prefix, started + took)
        if finished:
            self._forget_deaths(finished)
        if pause and not self._lane.closed:
            await asyncio.sleep(pause)

    def _count(self, prefix: Sequence[tuple[Entry, Outcome]]) -> None:
        """What has become visible."""
        counts: Counter[str] = Counter()
        for entry, outcome in prefix:
            counts[code_of(outcome)] += count_of(entry)
        for code, count in counts.items():
            self._metrics.outcomes.labels(code).inc(count)
        if counts.keys() - NO_ERRORS:
            self._take_errors([one for _, one in prefix if isinstance(one, Error)])

    async def _look_at_the_log(self) -> None:
        """Something seems to be missing: halt if the log no longer has it, else read it again."""
        lost = self._lane.lost
        if lost is None or len(self._lane) or self._lane.closed:
            return
        await self._renew()
        await self._open()

    async def _recover(self, error: Fenced) -> None:
        """Fenced: wait for the news that the partition is no longer ours, else fence back, once."""
        self._metrics.fences.inc()
        await self._committer.close()
        log.warning("lane_fenced", topic=self._lane.topic, error=str(error))
        now = time.monotonic()
        if now - self._fenced_at < FENCES_APART_S:
            self._fatal(f"{self._lane.topic}-{self._lane.partition}: fenced again: {error}")
        self._fenced_at = now
        if await self._is_revoked(self._settings.kafka.heartbeat_interval_ms / 1000 * 1.5):
            self._dropped = True  # what is left is for whoever has the partition
            return
        self._committer = self._new_committer()
        position, _ = await self._opening(self._committer)
        self._lane.rewind(position)

    async def _is_revoked(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                return await self._revoked.wait()
        except TimeoutError:
            return False
