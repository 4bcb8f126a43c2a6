"""A worse version is promoted while requests flow, and taken back by the watch over it.

    requests by the clock ────────────────────────────────────────────────▶
      version 1 answers ── promote 2 ── 2 answers ── breach ── 1 answers again

The controller rolls back by itself; where it does not, the demo does so by hand, and has failed.
`tests/cli/demoing/test_demo.py` runs it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from chimera.cli.demoing.operator import Operator
from chimera.cli.demoing.publisher import Publisher
from chimera.cli.demoing.recording import Recording
from chimera.cli.demoing.requests import GOOD, WORSE, Digits, Request, endless
from chimera.cli.demoing.served import Served
from chimera.cli.demoing.stages import Stages
from chimera.cli.demoing.traffic import by_the_clock, coordinates
from chimera.cli.results import Coordinates
from chimera.schemas.model_events import ModelRolledBack, WatchJudged

ENOUGH = 150  # answers in a row by version 1, before and after: half a second
TURN_WITHIN_S = 20.0  # until what a command says is visible
BREACH_WITHIN_S = 20.0

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

    def served() -> Served:
        return promotion.served.read(recording.answers, recording.seen_s)

    async with _flowing(publisher, digits, promotion.sent):
        with stages.begin(f"version {WORSE} promoted"):
            await recording.until(lambda: served().in_a_row(GOOD) >= ENOUGH, TURN_WITHIN_S)
            promotion.asked_s = time.monotonic()
            await operator.promote(WORSE)
            await recording.until(lambda: served().counts[WORSE] > 0, TURN_WITHIN_S)
        with stages.begin(f"version {WORSE} taken back by its watch"):
            await recording.until(lambda: _note(promotion, recording), BREACH_WITHIN_S)
            if promotion.rolled_back is None:
                await operator.roll_back("the watch did not notice")
            await recording.until(lambda: served().in_a_row(GOOD) >= ENOUGH, TURN_WITHIN_S)
    await recording.until(lambda: len(recording.answers) >= start + len(promotion.sent))
    served()
    return promotion


def _note(promotion: Promotion, recording: Recording) -> bool:
    """Whether it was rolled back."""
    for seen in recording.events:
        if isinstance(seen.event, WatchJudged):
            promotion.judged, promotion.judged_s = seen.event, seen.at_s
        elif isinstance(seen.event, ModelRolledBack):
            promotion.rolled_back, promotion.rolled_back_s = seen.event, seen.at_s
    return promotion.rolled_back is not None


@asynccontextmanager
async def _flowing(publisher: Publisher, digits: Digits, sent: Sent) -> AsyncGenerator[None]:
    """Requests by the clock for as long as the context lasts; then `sent` has all of them."""
    stop = asyncio.Event()

    async def flow() -> None:
        acknowledged = []
        async for request, _, future in by_the_clock(publisher, endless(digits, "promotion")):
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
