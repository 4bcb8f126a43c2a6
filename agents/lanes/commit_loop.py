"""The loop that makes a lane's decided prefix visible, and what it does when that goes wrong.

    opening ── fence ── read position ── committing ◂─┐
                  ▴                          │ pause of `commit.linger_ms`
                  └── fenced, still ours ────┴────────┘
    fenced and no longer ours: the lane is dropped      fenced twice within 60 s: the process ends
    a deadline passed, a refusal: the process ends (70) and its supervisor starts it again

The first fatal error is the lane's; whatever follows from it is not looked at. A producer that
failed is never used again.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

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
from chimera.topics.producers import Fenced

log = structlog.get_logger(__name__)

FENCES_APART_S = 60.0  # a second fence sooner means that somebody else is alive: leave it to them
NO_ERRORS = frozenset(("ok", "retry"))


ADVICE = "see `chimera offsets list`, resume with `chimera offsets set` while no node runs"


class Halted(ChimeraError):
    """The lane may not continue by itself; the message says why, and which command resumes it."""


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
    ) -> None:
        """`take_errors` gets those of each transaction: they are final."""
        self._lane = lane
        self._opening = opening
        self._new_committer = new_committer
        self._compose = compose.compose
        self._settings = settings
        self._metrics = metrics
        self._fatal = fatal
        self._forget_deaths = forget_deaths
        self._take_errors = take_errors
        self._committer = new_committer()
        self._idle = asyncio.Event()
        self._revoked = asyncio.Event()
        self._dropped = False
        self._fenced_at = -FENCES_APART_S

    async def run(self) -> None:
        """Open the lane, then commit until it is closed and nothing decided is left."""
        try:
            await self._open()
            while not self._dropped and not (self._lane.closed and not self._lane.ready):
                await self._next()
        except Halted as reason:
            self._metrics.halted.labels(self._lane.topic, self._lane.partition).set(1)
            log.error(
                "lane_halted",
                topic=self._lane.topic,
                partition=self._lane.partition,
                reason=str(reason),
            )
        except ChimeraError as error:
            self._fatal(f"{self._lane.topic}-{self._lane.partition}: {error}")
        finally:
            self._idle.set()
            await self._committer.close()

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
        self._lane.open(position, deaths)

    async def _next(self) -> None:
        await self._lane.decided.wait()
        self._lane.decided.clear()
        if self._lane.condemned:
            raise Halted(self._lane.condemned)
        started = time.monotonic()
        behind = self._lane.behind
        prefix = self._lane.prefix(self._settings.commit.max_records)
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
        commit = self._settings.commit
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
        await self._committer.close()
        self._committer = self._new_committer()
        position, _ = await self._opening(self._committer)
        if position > lost.expected:
            raise Halted(
                f"requests {lost.expected} to {position - 1} were removed before they were read: "
                f"{ADVICE}"
            )
        self._lane.read_again()

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
