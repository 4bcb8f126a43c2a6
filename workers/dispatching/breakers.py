"""The circuit breaker of one tier of one model version. Pure, time and jitter are passed in.

    closed     ── too many of the last calls failed, or were slow ──>  open
    open       ── its time is over, and a call is asked for ──>        half-open: the call is a probe
    half-open  ── the probe computed, in time ──>                      closed
               ── it did not ──>                                       open, for twice as long

Window and rates are resilience4j's: bounded by count and by time, and a rate means nothing before a
minimum of calls. There is one probe, as in Polly. The time that a breaker stays open grows with each
time in a row, as in Envoy's outlier detection; a whole window without opening is forgiven. A call
is known by its permit, which counts once, and only while the breaker is in the state that gave it
(gobreaker's generations), so what was started before it opened neither closes it nor counts again.
A call that nobody reports has timed out: a lost probe would hold its breaker half-open for ever
(resilience4j, issue 935). `tests/workers/dispatching/test_breakers.py` runs it against a simple model.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from chimera.schemas.errors import ConfigurationError
from chimera.workers.dispatching.outcomes import ERRORS, Outcome

if TYPE_CHECKING:
    from chimera.schemas.settings import Settings

MAX_TRANSITIONS = 64  # that nobody has taken yet; older ones are dropped


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a breaker opens, and for how long; see the settings of the same names."""

    window_us: int = 30_000_000
    window_calls: int = 100
    minimum_calls: int = 10
    error_rate: float = 0.5
    slow_rate: float = 0.8
    open_us: int = 1_000_000
    max_open_us: int = 60_000_000
    jitter: float = 0.2  # at most this share of its time is added
    lease_us: int = 15_000_000  # a call that is not reported for so long has timed out

    def __post_init__(self) -> None:
        if not 1 <= self.minimum_calls <= self.window_calls:
            raise ConfigurationError(
                f"CHIMERA_DISPATCH__MINIMUM_CALLS: {self.minimum_calls} calls are never in a"
                f" window of {self.window_calls}, so no breaker would ever open"
            )

    @classmethod
    def of(cls, settings: "Settings") -> "Policy":
        dispatch = settings.dispatch
        return cls(
            window_us=1_000 * dispatch.window_ms,
            window_calls=dispatch.window_calls,
            minimum_calls=dispatch.minimum_calls,
            error_rate=dispatch.error_rate,
            slow_rate=dispatch.slow_rate,
            open_us=1_000 * dispatch.open_ms,
            max_open_us=1_000 * dispatch.max_open_ms,
            lease_us=1_500 * settings.serving.run_timeout_ms,
        )


@dataclass(frozen=True, slots=True)
class Transition:
    """For metrics and `models.events`."""

    at_us: int
    before: State
    after: State
    reason: str
    until_us: int = 0  # of an open breaker: when it lets a probe through


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call; to be given back with what became of it."""

    serial: int
    slow_us: int  # a call that takes longer is slow
    is_probe: bool


class Window:
    """The last calls: not more than `calls` of them, and none that ended longer ago than `us`."""

    def __init__(self, calls: int, us: int) -> None:
        self._calls, self._us = calls, us
        self._ended: deque[tuple[int, bool, bool]] = deque()
        self.errors = self.slow = 0

    def __len__(self) -> int:
        return len(self._ended)

    def add(self, now_us: int, *, error: bool, slow: bool) -> None:
        ended = self._ended
        ended.append((now_us, error, slow))
        self.errors += error
        self.slow += slow
        while len(ended) > self._calls or ended[0][0] < now_us - self._us:
            _, error, slow = ended.popleft()
            self.errors -= error
            self.slow -= slow

    def clear(self) -> None:
        self._ended.clear()
        self.errors = self.slow = 0


class Breaker:
    """Ask `start` for a permit, and report each one to `finish`."""

    def __init__(self, policy: Policy) -> None:
        self.state = State.CLOSED
        self.opened = 0  # times in a row
        self.until_us = 0  # while it is open: when a probe may go
        self.transitions: deque[Transition] = deque(maxlen=MAX_TRANSITIONS)
        self._policy = policy
        self._window = Window(policy.window_calls, policy.window_us)
        self._calls: dict[int, int] = {}  # serial -> when its lease ends, in order
        self._serial = 0
        self._closed_us = 0  # since when

    def admits(self, now_us: int) -> bool:
        """Whether `start` gives a permit, after a `tick` at the same time."""
        return self.state is State.CLOSED or self.due_us() <= now_us

    def due_us(self) -> int:
        """When it may admit a call, unless one is reported before: 0 at once."""
        if self.state is State.OPEN:
            return self.until_us
        if self.state is State.HALF_OPEN and self._calls:
            return next(iter(self._calls.values()))
        return 0

    def tick(self, now_us: int, jitter: float) -> None:
        """Let calls time out whose lease is over; `jitter` from 0 to 1, as everywhere here."""
        while self._calls:
            serial, ends_us = next(iter(self._calls.items()))
            if ends_us > now_us:
                return
            del self._calls[serial]
            self._count(now_us, jitter, error=True, slow=False)

    def start(self, now_us: int, slow_us: int, jitter: float) -> Permit | None:
        """Leave for one call; None: not now."""
        self.tick(now_us, jitter)
        if not self.admits(now_us):
            return None
        if self.state is State.OPEN:
            self._enter(State.HALF_OPEN, now_us, "its time is over")
        self._serial += 1
        self._calls[self._serial] = now_us + self._policy.lease_us
        return Permit(self._serial, slow_us, self.state is State.HALF_OPEN)

    def finish(
        self, permit: Permit, outcome: Outcome, duration_us: int, *, now_us: int, jitter: float
    ) -> None:
        """Report a call. One that is not known (any more) changes nothing."""
        self.tick(now_us, jitter)
        if self._calls.pop(permit.serial, None) is None:
            return
        error, slow = outcome in ERRORS, duration_us > permit.slow_us
        if outcome is Outcome.REFUSED:
            return
        self._count(now_us, jitter, error=error, slow=slow)

    def blame(self, now_us: int, jitter: float) -> None:
        """Count an error that was not seen as the tier's when its call was reported."""
        if self.state is State.CLOSED:
            self._count(now_us, jitter, error=True, slow=False)

    def condemn(
        self, now_us: int, jitter: float, reason: str, *, is_for_long: bool = False
    ) -> None:
        """Open it, whatever the rates are: there is other evidence."""
        if self.state is State.CLOSED:
            self._open(now_us, jitter, reason, is_for_long=is_for_long)

    def _count(self, now_us: int, jitter: float, *, error: bool, slow: bool) -> None:
        if self.state is State.HALF_OPEN:
            if error or slow:
                self._open(now_us, jitter, "the probe failed" if error else "the probe was slow")
            else:
                self._closed_us = now_us
                self._enter(State.CLOSED, now_us, "the probe computed")
            return
        window, policy = self._window, self._policy
        window.add(now_us, error=error, slow=slow)
        calls = len(window)
        if calls < policy.minimum_calls:
            return
        if window.errors / calls >= policy.error_rate:
            self._open(now_us, jitter, f"{window.errors} of {calls} calls failed")
        elif window.slow / calls >= policy.slow_rate:
            self._open(now_us, jitter, f"{window.slow} of {calls} calls were slow")

    def _open(self, now_us: int, jitter: float, reason: str, *, is_for_long: bool = False) -> None:
        policy = self._policy
        if self.state is State.CLOSED and now_us - self._closed_us >= policy.window_us:
            self.opened = 0
        open_us = policy.open_us << (32 if is_for_long else min(self.opened, 32))
        open_us = min(open_us, policy.max_open_us)
        self.opened += 1
        self.until_us = now_us + open_us + int(open_us * policy.jitter * jitter)
        self._enter(State.OPEN, now_us, reason)

    def _enter(self, state: State, now_us: int, reason: str) -> None:
        until_us = self.until_us if state is State.OPEN else 0
        self.transitions.append(Transition(now_us, self.state, state, reason, until_us))
        self.state = state
        self._window.clear()
        self._calls.clear()
