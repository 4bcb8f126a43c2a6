"""One version in executors of its own, which answers works one after the other: a replay's candidate.

    answer ── pool ── outcomes ─────────────────────────────────┬─ all there
                └── failed and retriable, or accused of a death ─ alone, once more ─┘

It may crash, hang or refuse: that is an error of those requests, as where it serves, and nothing else
is lost. Circuit breakers stay closed, as here nothing else could answer. One that ends its executor
again and again, or does not answer, is given up. `tests/workers/replaying/test_candidate.py`.
"""

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Self

import msgspec

from chimera.schemas import outcomes, stored
from chimera.schemas.batches import encode
from chimera.schemas.errors import (
    REQUEST_ERRORS,
    BackendUnavailable,
    ModelRefused,
    OutOfMemory,
    WorkerCrashed,
)
from chimera.schemas.outcomes import Outcome
from chimera.schemas.placements import Orders, Placement
from chimera.schemas.settings import Settings
from chimera.schemas.work import Block, Deferred, Failure, Outcomes, Results, Work
from chimera.workers.deaths import OUT_OF_MEMORY
from chimera.workers.pieces import part
from chimera.workers.pool import Pool
from chimera.workers.reports import Report

MAX_DEATHS = 8  # of its executors, in one replay: what comes then is known
NEVER = 1_000_000  # calls that a breaker waits for before it may open

_FAILURE = msgspec.json.Decoder(Failure)


class GivenUp(Exception):
    """The candidate will answer no more; the message says why."""


class Candidate:
    """`async with Candidate(...)`: it is loaded and warm inside of the block."""

    def __init__(
        self, settings: Settings, placement: Placement, *, entry: Sequence[str] | None = None
    ) -> None:
        """`entry` is what tests have instead of the executors' own command lines."""
        self._placement = placement
        self._pool = Pool(_alone(settings), self, entry=entry)
        self._within_s = settings.serving.decide_within_ms / 1000
        self._work: Work | None = None
        self._found: dict[int, Outcome] = {}
        self._tried: set[int] = set()
        self._deaths: list[str] = []
        self._done = asyncio.Event()

    async def __aenter__(self) -> Self:
        """
        Raises:
            ModelRefused: no executor can load it. ConfigurationError: a device that is none.
        """
        one = self._placement
        try:
            orders = Orders((one,), {one.model: {one.version: 1.0}})
            await self._pool.start(orders)
            for executor in self._pool.executors:
                for loaded in executor.models:
                    if loaded.refused:
                        raise ModelRefused(f"{one.name}: {loaded.refused}")
        except BaseException:
            await self._pool.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.stop()

    async def answer(self, work: Work) -> list[Outcome]:
        """Outcomes of all of a work's requests, in their order; one work at a time.

        Raises:
            GivenUp: it ends its executors, or does not answer in time.
        """
        self._work, self._found, self._tried = work, {}, set()
        self._done.clear()
        if work.offsets:
            self._pool.submit(work)
            await self._wait(work)
        return [self._found[offset] for offset in work.offsets]

    async def _wait(self, work: Work) -> None:
        """As long as answers come: each may take as long as it may where it serves."""
        while len(self._found) < len(work.offsets):
            before = len(self._found), len(self._tried), len(self._deaths)
            try:
                async with asyncio.timeout(self._within_s):
                    await self._done.wait()
            except TimeoutError:
                if before == (len(self._found), len(self._tried), len(self._deaths)):
                    raise GivenUp(f"it has not answered for {self._within_s:g} s") from None
            if len(self._deaths) >= MAX_DEATHS:
                raise GivenUp(f"it has ended {MAX_DEATHS} executors: {self._deaths[-1]}")

    # What the pool tells.

    def take_outcomes(self, outcomes: Outcomes) -> None:
        again: list[int] = []
        tails: list[tuple[int, bytes]] = []
        for offset, code, body in zip(
            outcomes.offsets, outcomes.codes, outcomes.bodies, strict=True
        ):
            if not code:
                tails.append((offset, body))
                continue
            kind = REQUEST_ERRORS[code - 1]
            if kind.retriable and offset not in self._tried:
                again.append(offset)
            else:
                message = _FAILURE.decode(body).message
                self._found[offset] = Outcome(kind.code, message.encode())
        self._found.update(_read(tails))
        self._try_alone(again)

    def take_suspects(self, lane: int, offsets: list[int], reason: str) -> None:
        kind = OutOfMemory if reason == OUT_OF_MEMORY else WorkerCrashed
        self._failed(offsets, Outcome(kind.code, f"its executor {reason}".encode()))

    def take_deferred(self, deferred: Deferred) -> None:
        """A later executor could not load it; there is nobody to wait for."""
        self._failed(deferred.offsets, Outcome(BackendUnavailable.code, b"it is not loaded"))

    def take_death(self, reason: str) -> None:
        self._deaths.append(reason)
        if len(self._deaths) >= MAX_DEATHS:
            self._done.set()

    def take_report(self, report: Report) -> None:
        """Who replays counts for itself."""

    def take_results(self, results: Results) -> None:
        raise AssertionError("no block is submitted")

    def take_unread(self, block: Block, accused: Collection[int]) -> None:
        raise AssertionError("no block is submitted")

    def _failed(self, offsets: Collection[int], outcome: Outcome) -> None:
        """What these end with, if they were tried alone already."""
        self._found.update(dict.fromkeys(self._tried.intersection(offsets), outcome))
        self._try_alone([offset for offset in offsets if offset not in self._tried])

    def _try_alone(self, offsets: Collection[int]) -> None:
        """Compute these once more, each by itself; without any, see whether all are answered."""
        work = self._work
        if work is None:
            return
        if offsets:
            self._tried.update(offsets)
            places = [at for at, offset in enumerate(work.offsets) if offset in offsets]
            again = part(work, places, isolate=True)
            again.entered_ns = time.monotonic_ns()
            self._pool.submit(again)
        if len(self._found) >= len(work.offsets):
            self._done.set()


def _read(tails: list[tuple[int, bytes]]) -> dict[int, Outcome]:
    """Outcomes of responses, as a reader of their topic would have them."""
    if not tails:
        return {}
    batch = encode([None] * len(tails), [tail for _, tail in tails])
    records = stored.parse(batch.sent_by(-1, -1, -1, transactional=False))
    return {
        offset: outcomes.read(record.value, record.headers)
        for (offset, _), record in zip(tails, records, strict=True)
    }


def _alone(settings: Settings) -> Settings:
    """One executor a device, whose breakers never open."""
    dispatch = {"window_calls": NEVER, "minimum_calls": NEVER}
    return settings.model_copy(
        update={
            "serving": settings.serving.model_copy(update={"executors": 1}),
            "dispatch": settings.dispatch.model_copy(update=dispatch),
        }
    )
