"""Which tier computes next: the fastest verified one of a model version whose breaker lets it.

Pure, time is passed in; one dispatcher a model version, one breaker a tier. A tier whose breaker is
due is probed with one call before a slower one is used, so that it comes back by itself; a request
whose deadline would not survive a probe that fails goes to the next closed tier instead. When every
tier is open the caller waits for a probe (DESIGN 5.4): an outage of all is no failure of a request.
A batch that every tier failed is not made to wait before the breakers say so: runtimes raise one error
for a request that they refuse and for a library that is broken (a lost device or a hang ends the
executor instead), and poison that waits would stop its lane. Its requests are tried again meanwhile,
and their waits count for none of their limits (`agents/lanes/deferrals.py`), so an outage costs them little.
One request alone that fails says nothing; `minimum_calls` different ones in a row, with none computed
in between, open the breaker however slowly they come, and a probe fails that fails one more.
What one attempt has tried is the caller's to remember; after a `Wait` an attempt begins anew.
`tests/workers/dispatching/test_dispatch.py` holds its promises as properties.
"""

import random
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chimera.schemas.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    ModelRefused,
    RequestError,
)
from chimera.workers.dispatching.breakers import Breaker, Permit, State, Transition
from chimera.workers.dispatching.breakers import Policy as BreakerPolicy
from chimera.workers.dispatching.outcomes import Outcome
from chimera.workers.dispatching.refusals import Refusals
from chimera.workers.dispatching.tier_order import Measured, Usage, order

if TYPE_CHECKING:
    from chimera.schemas.settings import Settings

SLOW_FLOOR_US = 20_000  # less is a busy machine's noise, whatever the measured p99
MAX_REMEMBERED = 4_096
REORDER_CALLS = 256  # reported ones, between looks at the batch sizes in use


@dataclass(frozen=True, slots=True)
class Policy:
    """See the settings of the same names."""

    timeout_us: int = 10_000_000  # of one call: then its executor is replaced
    slow_factor: float = 5.0
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)

    @classmethod
    def of(cls, settings: "Settings") -> "Policy":
        timeout_us = 1_000 * settings.serving.run_timeout_ms
        return cls(timeout_us, settings.dispatch.slow_factor, BreakerPolicy.of(settings))


@dataclass(frozen=True, slots=True)
class Call:
    """Compute with this tier, and `record` what became of it, exactly once."""

    tier: str
    rows: int
    permit: Permit


@dataclass(frozen=True, slots=True)
class Wait:
    """No tier takes a call: ask again then, or as soon as another call is recorded."""

    until_us: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """This attempt is over."""

    error: type[RequestError]


class Dispatcher:
    """Of one model version."""

    def __init__(
        self,
        name: str,
        measured: Collection[Measured],
        policy: Policy,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`name` is for errors.

        Raises:
            ModelRefused: none of the tiers may serve.
        """
        self._measured = {one.tier: one for one in measured if one.may_serve}
        if not self._measured:
            raise ModelRefused(f"{name}: none of its tiers is verified")
        self.order = order(self._measured.values(), {})
        self._policy = policy
        self._jitter = jitter
        self._breakers = {tier: Breaker(policy.breaker) for tier in self.order}
        self._refusals = {tier: Refusals(policy.breaker.minimum_calls) for tier in self.order}
        self._slow: dict[tuple[str, int], int] = {}
        self._usage = Usage()
        self._recorded = 0

    def next_tier(
        self,
        now_us: int,
        deadline_us: int | None = None,
        *,
        rows: int = 1,
        tried: Collection[str] = (),
    ) -> Call | Wait | GiveUp:
        """The next step of an attempt at `rows` rows; both times are the monotonic clock's."""
        if deadline_us is not None and deadline_us <= now_us:
            return GiveUp(DeadlineExceeded)
        left, is_open = self._free(now_us, tried, is_one_enough=deadline_us is None)
        if left:
            remaining_us = None if deadline_us is None else deadline_us - now_us
            return self._call(left, rows, now_us, remaining_us)
        if not is_open:
            return GiveUp(BackendUnavailable)
        until_us = min(breaker.due_us() for breaker in self._breakers.values())
        return Wait(until_us if deadline_us is None else min(until_us, deadline_us))

    def record(
        self,
        call: Call,
        outcome: Outcome,
        duration_us: int,
        now_us: int,
        request: Hashable = None,
    ) -> None:
        """Report a call; `duration_us` is of the computation, without any queue before it.

        `request`: the name of the first one, where the model raised on all of them.
        """
        refusals = self._refusals[call.tier]
        if outcome is Outcome.COMPUTED:
            refusals.clear()
        elif request is not None:
            refusals.add(request)
            outcome = Outcome.FAILED if refusals.are_outage else outcome
        breaker, jitter = self._breakers[call.tier], self._jitter()
        breaker.finish(call.permit, outcome, duration_us, now_us=now_us, jitter=jitter)
        if refusals.are_outage:
            breaker.condemn(now_us, jitter, f"{len(refusals)} requests in a row failed")
        self._usage.add(call.rows)
        self._recorded += 1
        if self._recorded % REORDER_CALLS == 0:
            self.reorder(self._usage.shares())

    def contradict(self, tier: str, now_us: int) -> None:
        """Another tier computed what this one refused: its refusal was an error after all."""
        self._breakers[tier].blame(now_us, self._jitter())

    def ended(self, tier: str, executors: int, now_us: int) -> None:
        """It ended so many before this one: it is probed as late as possible."""
        breaker = self._breakers.get(tier)
        if breaker is not None:
            told = f"it ended {executors} executor{'s' * (executors > 1)}"
            breaker.condemn(now_us, self._jitter(), told, is_for_long=True)

    def reorder(self, in_use: Mapping[int, float]) -> None:
        """By the batch sizes in use, rows -> share; `record` does it now and then by itself."""
        self.order = order(self._measured.values(), in_use)

    def states(self) -> dict[str, State]:
        """Of each tier's breaker, in the order in which they are tried."""
        return {tier: self._breakers[tier].state for tier in self.order}

    def take_transitions(self) -> list[tuple[str, Transition]]:
        """What has happened to the breakers since the last time, with the tiers' names."""
        found: list[tuple[str, Transition]] = []
        for tier, breaker in self._breakers.items():
            found += [(tier, transition) for transition in breaker.transitions]
            breaker.transitions.clear()
        return sorted(found, key=lambda one: one[1].at_us)

    def _free(
        self, now_us: int, tried: Collection[str], *, is_one_enough: bool
    ) -> tuple[list[str], bool]:
        """Tiers that take a call and were not tried, in order; and whether every tier is open."""
        left: list[str] = []
        is_open = True
        for tier in self.order:
            breaker = self._breakers[tier]
            breaker.tick(now_us, self._jitter())
            if not breaker.admits(now_us):
                continue
            is_open = False
            if tier not in tried:
                left.append(tier)
                if is_one_enough:  # no time has to be kept for another
                    break
        return left, is_open

    def _call(self, left: list[str], rows: int, now_us: int, remaining_us: int | None) -> Call:
        chosen = self._within(left, rows, remaining_us)
        slow_us = self._slow_us(chosen, rows)
        permit = self._breakers[chosen].start(now_us, slow_us, self._jitter())
        assert permit is not None, f"{chosen} admitted a call and gave no permit"
        return Call(chosen, rows, permit)

    def _within(self, left: list[str], rows: int, remaining_us: int | None) -> str:
        """The tier to call: no probe where it would leave no time for the tier after it."""
        first = left[0]
        if remaining_us is None or self._breakers[first].state is State.CLOSED:
            return first
        closed = [tier for tier in left[1:] if self._breakers[tier].state is State.CLOSED]
        if not closed:
            return first
        needed_us = self._slow_us(first, rows) + self._slow_us(closed[0], rows)
        return first if remaining_us >= needed_us else closed[0]

    def _slow_us(self, tier: str, rows: int) -> int:
        """A call of this size that takes longer is slow; never above the time-out."""
        known = self._slow.get((tier, rows))
        if known is None:
            expected_us = self._policy.slow_factor * self._measured[tier].expected_us(rows)
            known = int(min(max(expected_us, SLOW_FLOOR_US), self._policy.timeout_us))
            if len(self._slow) >= MAX_REMEMBERED:
                self._slow.clear()
            self._slow[tier, rows] = known
        return known
