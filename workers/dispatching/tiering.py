"""The loaded tiers of a version, and the one that computes a batch.

One tier, or the first that its breaker admits: a batch that fails as a whole on one is tried on the
next, with a fresh look at who is to blame; what one tier refused and another computed is held
against the first (`workers/dispatching/dispatch.py` decides, this does). While no tier admits a call
its requests wait: an outage of all tiers is no failure of theirs. Nor is a tier asked for a batch
that nobody waits for any more. `tests/workers/dispatching/test_tiering.py`.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from chimera.schemas.errors import ChimeraError, RequestError
from chimera.workers.backends.protocol import Backend
from chimera.workers.dispatching.breakers import Transition
from chimera.workers.dispatching.deadlines import NO_DEADLINES, Deadlines
from chimera.workers.dispatching.dispatch import Call, Dispatcher, GiveUp, Wait
from chimera.workers.dispatching.outcomes import Outcome, outcome_of
from chimera.workers.results import Tails


class Tier(NamedTuple):
    """Loaded; its results name it."""

    backend: Backend
    tails: Tails

    @property
    def name(self) -> str:
        return self.backend.tier


class NotNow(ChimeraError):
    """No tier takes a call for so long."""

    def __init__(self, wait_ms: int) -> None:
        super().__init__(f"no tier takes a call for {wait_ms} ms")
        self.wait_ms = wait_ms


class Attempt(NamedTuple):
    """What one tier made of a batch: how many requests it computed, and the others' first error."""

    requests: int
    computed: int
    error: BaseException | None
    compute_us: int
    request: Hashable = None  # the first, by name, where the model raised on all of them


class Tiers:
    """Of one version, in one executor."""

    def __init__(self, loaded: Sequence[Tier], dispatcher: Dispatcher | None = None) -> None:
        """Without a dispatcher the first one computes everything."""
        self._loaded = {tier.name: tier for tier in loaded}
        self._dispatcher = dispatcher
        self.first = loaded[0]

    @property
    def names(self) -> tuple[str, ...]:
        """As they were ordered when they were loaded."""
        return tuple(self._loaded)

    def take_transitions(self) -> list[tuple[str, Transition]]:
        """What has happened to their breakers since the last time."""
        return [] if self._dispatcher is None else self._dispatcher.take_transitions()

    def compute(
        self, rows: int, attempt: Callable[[Tier], Attempt], deadlines: Deadlines = NO_DEADLINES
    ) -> type[RequestError] | None:
        """Let tiers attempt a batch of so many rows until one computes any of it, or none is left.

        Returns why it was given up, where no tier had to be asked any more.

        Raises:
            NotNow: there is none that takes a call; nothing was attempted.
        """
        if self._dispatcher is None:
            attempt(self.first)
            return None
        tried: dict[str, Outcome] = {}
        while True:
            now_us = _now_us()
            deadline_us = deadlines.next_us(now_us)
            step = self._dispatcher.next_tier(now_us, deadline_us, rows=rows, tried=tried)
            if isinstance(step, Wait) and not tried:
                raise NotNow(max(0, step.until_us - _now_us()) // 1_000 + 1)
            if isinstance(step, GiveUp):
                return step.error
            if isinstance(step, Wait) or self._did_compute(step, attempt, tried):
                return None

    def _did_compute(
        self, call: Call, attempt: Callable[[Tier], Attempt], tried: dict[str, Outcome]
    ) -> bool:
        assert self._dispatcher is not None
        found = attempt(self._loaded[call.tier])
        outcome = outcome_of(found.error, requests=found.requests, computed=found.computed)
        self._dispatcher.record(call, outcome, found.compute_us, _now_us(), found.request)
        if not found.computed:
            tried[call.tier] = outcome
            return False
        for tier, before in tried.items():
            if before is Outcome.REFUSED:  # else it counts already
                self._dispatcher.contradict(tier, _now_us())
        return True


def _now_us() -> int:
    return time.monotonic_ns() // 1000
