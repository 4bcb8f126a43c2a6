"""The second version, which is worse, is promoted while requests flow, and taken back by the watch over it.

    requests by the clock ────────────────────────────────────────────────▶
      the first answers ── promote ── the second answers ── breach ── the first answers again

The controller rolls back by itself; where it does not, the demo does so by hand, and has failed.
`tests/cli/demoing/test_demo.py` runs it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from chimera.cli.asking.results import Coordinates
from chimera.cli.demoing.failure import DemoFailed
from chimera.cli.demoing.operator import Operator
from chimera.cli.demoing.publisher import Acknowledged, Publisher
from chimera.cli.demoing.recording import Recording
from chimera.cli.demoing.requests import Digits, Request, endless
from chimera.cli.demoing.served import Served
from chimera.cli.demoing.stages import Stages
from chimera.cli.demoing.traffic import by_the_clock, coordinates
from chimera.cli.demoing.versions import GOOD, NTH, WORSE
from chimera.schemas.model_events import ModelRolledBack, WatchJudged

RATE = 100  # requests a second
ENOUGH = 20  # answers in a row by the first, before and after
TURN_WITHIN_S = 60.0  # until what a command says is visible: two seconds where nobody else computes
BREACH_WITHIN_S = 60.0

Sent = dict[Coordinates, Request]


@dataclass(slots=True)
class Promotion:
    """What was sent, by whom it was answered, what was told; times are `time.monotonic()`."""

    served: Served
    sent: Sent = field(default_factory=Sent)
    asked_s: float = 0.0
    judged: WatchJudged | None = None
    judged_s: float = 0.0
    rolled_back: ModelRolledBack | None = None
    rolled_back_s: float = 0.0

    @property
    def is_taken_back(self) -> bool:
        """By the watch, and visibly so."""
        by_itself = self.rolled_back is not None and self.rolled_back.is_automatic
        return by_itself and self.served.in_a_row(GOOD) >= ENOUGH

    def after_s(self, moment_s: float) -> float | None:
        """Since the command; None: it never came."""
        return moment_s - self.asked_s if moment_s > self.asked_s else None


async def promote(
    operator: Operator,
    publisher: Publisher,
    recording: Recording,
    digits: Digits,
    *,
    stages: Stages,
) -> Promotion:
    """The whole of it, until every request is answered or nothing comes any more.

    Raises:
        ChimeraError: a command was refused; or as `Recording.until`.
    """
    start = len(recording.answers)
    promotion = Promotion(Served(digits.digests, start))
    scene = _Scene(operator, recording, promotion, stages)
    async with _flowing(publisher, digits, promotion.sent):
        await scene.promote()
        await scene.await_rollback()
    await recording.until(lambda: len(recording.answers) >= start + len(promotion.sent))
    scene.served()
    return promotion


@dataclass(frozen=True, slots=True)
class _Scene:
    operator: Operator
    recording: Recording
    promotion: Promotion
    stages: Stages

    def served(self) -> Served:
        return self.promotion.served.read(self.recording.answers, self.recording.seen_s)

    async def promote(self) -> None:
        """Once the first answers, until the second does."""
        with self.stages.begin(f"{NTH[WORSE]} version promoted"):
            await self._until(self._is_good, f"the {NTH[GOOD]} version answers")
            self.promotion.asked_s = time.monotonic()
            await self.operator.promote(WORSE)
            await self._until(
                lambda: self.served().counts[WORSE] > 0, f"the {NTH[WORSE]} version answers"
            )

    async def await_rollback(self) -> None:
        """Until the first answers again."""
        with self.stages.begin(f"{NTH[WORSE]} version rolled back") as stage:

            def is_rolled_back() -> bool:
                stage.update(0, f"it has answered {self.served().counts[WORSE]:,}")
                return self._note()

            if not await self.recording.until(is_rolled_back, BREACH_WITHIN_S):
                await self.operator.roll_back("the watch did not notice")
                await self._until(self._note, "the rollback is told")
            await self._until(self._is_good, f"the {NTH[GOOD]} version answers again")

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        """Raises DemoFailed: it does not come true."""
        if not await self.recording.until(condition, TURN_WITHIN_S):
            raise DemoFailed(f"{what}: not within {TURN_WITHIN_S:.0f} s")

    def _is_good(self) -> bool:
        return self.served().in_a_row(GOOD) >= ENOUGH

    def _note(self) -> bool:
        """Take what was told; whether it was rolled back."""
        promotion = self.promotion
        for at_s, event in self.recording.events:
            if isinstance(event, WatchJudged):
                promotion.judged, promotion.judged_s = event, at_s
            elif isinstance(event, ModelRolledBack):
                promotion.rolled_back, promotion.rolled_back_s = event, at_s
        return promotion.rolled_back is not None


@asynccontextmanager
async def _flowing(publisher: Publisher, digits: Digits, sent: Sent) -> AsyncGenerator[None]:
    """Requests by the clock for as long as the context lasts; then `sent` has all of them."""
    stop = asyncio.Event()

    async def flow() -> None:
        acknowledged: list[tuple[Request, Acknowledged]] = []
        requests = endless(digits, "promotion")
        async for request, _, future in by_the_clock(publisher, requests, RATE):
            acknowledged.append((request, future))
            if stop.is_set():
                break
        for request, future in acknowledged:
            sent[await coordinates(future)] = request

    task = asyncio.create_task(flow(), name="flow")
    try:
        yield
    except BaseException:
        task.cancel()
        raise
    stop.set()
    await task
