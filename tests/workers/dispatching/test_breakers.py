"""The breaker against a model that keeps every call and counts anew each time; then known scenes."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.settings import Settings
from chimera.workers.dispatching.breakers import Breaker, Permit, Policy, State
from chimera.workers.dispatching.outcomes import ERRORS, Outcome

SLOW_US = 100
POLICY = Policy(
    window_us=10_000,
    window_calls=8,
    minimum_calls=4,
    error_rate=0.5,
    slow_rate=0.75,
    open_us=1_000,
    max_open_us=6_000,
    jitter=0.5,
    lease_us=3_000,
)


class BreakerMachine(RuleBasedStateMachine):
    """Calls start, end in any order, twice, or never, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(POLICY)
        self.now_us = 0
        self.state = State.CLOSED
        self.ended: list[tuple[int, bool, bool]] = []  # since it closed
        self.running: dict[Permit, int] = {}  # that count -> when they began
        self.permits: list[Permit] = []  # all there ever were
        self.opened = 0
        self.until_us = self.closed_us = 0
        self.story: list[State] = []

    @rule(us=st.sampled_from([1, 99, 101, 1_000, 2_999, 3_000, 10_001]))
    def pass_time(self, us: int) -> None:
        self.now_us += us
        self.breaker.tick(self.now_us, 1.0)
        for permit, began_us in list(self.running.items()):
            if permit in self.running and self.now_us - began_us >= POLICY.lease_us:
                self.end(permit, error=True, slow=False)

    @rule()
    def start(self) -> None:
        was, busy = self.state, bool(self.running)
        permit = self.breaker.start(self.now_us, SLOW_US, 1.0)
        if was is State.OPEN and self.now_us >= self.until_us:
            self.enter(State.HALF_OPEN)
        allowed = was is State.CLOSED or (self.state is State.HALF_OPEN and not busy)
        assert (permit is not None) == allowed
        if permit is not None:
            assert permit.is_probe == (self.state is State.HALF_OPEN)
            assert permit not in self.permits
            self.running[permit] = self.now_us
            self.permits.append(permit)

    @precondition(lambda self: self.permits)
    @rule(
        data=st.data(),
        outcome=st.sampled_from(list(Outcome)),
        duration_us=st.sampled_from([1, SLOW_US, SLOW_US + 1]),
    )
    def finish(self, data: st.DataObject, outcome: Outcome, duration_us: int) -> None:
        permit = data.draw(st.sampled_from(self.permits[-6:]))
        self.breaker.finish(permit, outcome, duration_us, now_us=self.now_us, jitter=1.0)
        slow = duration_us > SLOW_US
        if permit not in self.running:
            return
        if outcome is Outcome.REFUSED:
            del self.running[permit]
        else:
            self.end(permit, error=outcome in ERRORS, slow=slow)

    @rule()
    def blame(self) -> None:
        self.breaker.blame(self.now_us, 1.0)
        if self.state is State.CLOSED:
            self.count(error=True, slow=False)

    @rule()
    def condemn(self) -> None:
        self.breaker.condemn(self.now_us, 1.0, "other evidence")
        if self.state is State.CLOSED:
            self.open()

    def end(self, permit: Permit, *, error: bool, slow: bool) -> None:
        del self.running[permit]
        if self.state is State.CLOSED:
            self.count(error=error, slow=slow)
        elif error or slow:
            self.open()
        else:
            self.closed_us = self.now_us
            self.enter(State.CLOSED)

    def count(self, *, error: bool, slow: bool) -> None:
        self.ended.append((self.now_us, error, slow))
        last = [one for one in self.ended[-8:] if one[0] >= self.now_us - POLICY.window_us]
        errors, slows = sum(one[1] for one in last), sum(one[2] for one in last)
        if len(last) >= 4 and (2 * errors >= len(last) or 4 * slows >= 3 * len(last)):
            self.open()

    def open(self) -> None:
        if self.state is State.CLOSED and self.now_us >= self.closed_us + POLICY.window_us:
            self.opened = 0
        open_us = (1_000, 2_000, 4_000, 6_000)[min(self.opened, 3)]
        self.opened += 1
        self.until_us = self.now_us + open_us + open_us // 2
        self.enter(State.OPEN)

    def enter(self, state: State) -> None:
        self.state = state
        self.story.append(state)
        self.running, self.ended = {}, []

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert self.breaker.state is self.state
        allowed = {
            State.CLOSED: True,
            State.OPEN: self.now_us >= self.until_us,
            State.HALF_OPEN: not self.running,
        }
        assert self.breaker.admits(self.now_us) == allowed[self.state]

    @invariant()
    def tells_each_transition_once(self) -> None:
        told = list(self.breaker.transitions)
        assert [one.after for one in told] == self.story[-len(told) :] or not told
        for earlier, later in pairwise(told):
            assert earlier.after is later.before
            assert earlier.at_us <= later.at_us


BreakerMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestBreaker = BreakerMachine.TestCase


def call(breaker: Breaker, now_us: int, outcome: Outcome = Outcome.COMPUTED, us: int = 1) -> Permit:
    permit = breaker.start(now_us, SLOW_US, 0.0)
    assert permit is not None
    breaker.finish(permit, outcome, us, now_us=now_us, jitter=0.0)
    return permit


def state_of(breaker: Breaker) -> State:
    return breaker.state


def opened(now_us: int = 0) -> Breaker:
    breaker = Breaker(POLICY)
    for _ in range(4):
        call(breaker, now_us, Outcome.FAILED)
    assert state_of(breaker) is State.OPEN
    return breaker


def test_breaker_does_not_open_before_the_minimum_of_calls() -> None:
    breaker = Breaker(POLICY)
    for _ in range(3):
        call(breaker, 0, Outcome.OUT_OF_MEMORY)
    assert state_of(breaker) is State.CLOSED
    call(breaker, 0)
    assert state_of(breaker) is State.OPEN, "three of four"


def test_breaker_below_its_rates_stays_closed() -> None:
    breaker = Breaker(POLICY)
    for at in range(100):
        call(breaker, at, Outcome.FAILED if at % 3 == 2 else Outcome.COMPUTED)
        assert state_of(breaker) is State.CLOSED


@pytest.mark.parametrize("outcome", sorted(ERRORS))
def test_breaker_opens_on_each_kind_of_error(outcome: Outcome) -> None:
    breaker = Breaker(POLICY)
    for at in range(4):
        call(breaker, at, Outcome.COMPUTED if at < 2 else outcome)
    assert state_of(breaker) is State.OPEN
    (transition,) = breaker.transitions
    assert transition.reason == "2 of 4 calls failed"


def test_breaker_opens_on_latency_alone() -> None:
    breaker = Breaker(POLICY)
    for at in range(4):
        call(breaker, at, us=SLOW_US + 1 if at else SLOW_US)
    assert state_of(breaker) is State.OPEN
    assert breaker.transitions[0].reason == "3 of 4 calls were slow"


def test_breaker_forgets_errors_that_are_older_than_its_window() -> None:
    breaker = Breaker(POLICY)
    for _ in range(3):
        call(breaker, 0, Outcome.FAILED)
    call(breaker, 10_001, Outcome.FAILED)
    assert state_of(breaker) is State.CLOSED


def test_breaker_forgets_calls_that_came_before_its_last_ones() -> None:
    breaker = Breaker(POLICY)
    for _ in range(100):
        call(breaker, 0)
    for _ in range(4):
        assert state_of(breaker) is State.CLOSED
        call(breaker, 0, Outcome.FAILED)
    assert state_of(breaker) is State.OPEN, "four of the last eight"


@given(st.lists(st.sampled_from([Outcome.COMPUTED, Outcome.REFUSED]), max_size=60))
def test_breaker_never_opens_for_what_requests_did_themselves(outcomes: list[Outcome]) -> None:
    breaker = Breaker(POLICY)
    for outcome in outcomes:
        call(breaker, 0, outcome)
    assert state_of(breaker) is State.CLOSED


def test_breaker_is_not_closed_or_opened_again_by_calls_of_before() -> None:
    breaker = Breaker(POLICY)
    early = [breaker.start(0, SLOW_US, 0.0) for _ in range(3)]
    for _ in range(4):
        call(breaker, 0, Outcome.FAILED)
    for permit in early:
        assert permit is not None
        breaker.finish(permit, Outcome.FAILED, 1, now_us=500, jitter=0.0)
    assert breaker.until_us == 1_000, "not prolonged"
    probe = breaker.start(1_000, SLOW_US, 0.0)
    assert probe is not None
    for permit in early:
        assert permit is not None
        breaker.finish(permit, Outcome.COMPUTED, 1, now_us=1_000, jitter=0.0)
    assert state_of(breaker) is State.HALF_OPEN, "not closed"
    breaker.finish(probe, Outcome.COMPUTED, 1, now_us=1_001, jitter=0.0)
    assert state_of(breaker) is State.CLOSED


def test_breaker_counts_a_call_that_is_reported_twice_once() -> None:
    breaker = Breaker(POLICY)
    permit = call(breaker, 0, Outcome.FAILED)
    for _ in range(10):
        breaker.finish(permit, Outcome.FAILED, 1, now_us=0, jitter=0.0)
    assert state_of(breaker) is State.CLOSED


def test_breaker_half_open_lets_one_probe_through() -> None:
    breaker = opened()
    assert breaker.start(999, SLOW_US, 0.0) is None
    assert breaker.start(1_000, SLOW_US, 0.0) is not None
    assert [breaker.start(1_001, SLOW_US, 0.0) for _ in range(5)] == [None] * 5


def test_breaker_whose_probe_is_slow_opens_again() -> None:
    breaker = opened()
    call(breaker, 1_000, us=SLOW_US + 1)
    assert state_of(breaker) is State.OPEN
    assert breaker.transitions[-1].reason == "the probe was slow"


def test_breaker_whose_probe_tells_nothing_takes_another() -> None:
    breaker = opened()
    call(breaker, 1_000, Outcome.REFUSED)
    assert state_of(breaker) is State.HALF_OPEN
    call(breaker, 1_001)
    assert state_of(breaker) is State.CLOSED


def test_breaker_whose_probe_is_lost_opens_again_and_recovers() -> None:
    breaker = opened()
    assert breaker.start(1_000, SLOW_US, 0.0) is not None
    assert breaker.due_us() == 4_000
    breaker.tick(4_000, 0.0)
    assert (breaker.state, breaker.until_us) == (State.OPEN, 6_000)
    call(breaker, 6_000)
    assert state_of(breaker) is State.CLOSED


def test_breaker_stays_open_for_longer_each_time_up_to_its_longest() -> None:
    breaker = opened()
    times = [breaker.until_us]
    for _ in range(5):
        now_us = breaker.until_us
        call(breaker, now_us, Outcome.FAILED)
        times.append(breaker.until_us - now_us)
    assert times == [1_000, 2_000, 4_000, 6_000, 6_000, 6_000]


@given(st.floats(0, 1))
def test_breaker_open_time_is_spread_above_its_length(jitter: float) -> None:
    breaker = Breaker(POLICY)
    for _ in range(4):
        permit = breaker.start(0, SLOW_US, jitter)
        assert permit is not None
        breaker.finish(permit, Outcome.FAILED, 1, now_us=0, jitter=jitter)
    assert breaker.until_us == 1_000 + int(500 * jitter)


def test_breaker_that_fails_soon_after_its_probe_stays_open_for_longer() -> None:
    breaker = opened()
    call(breaker, 1_000)
    for _ in range(4):
        call(breaker, 1_100, Outcome.FAILED)
    assert breaker.until_us == 1_100 + 2_000


def test_breaker_that_stayed_closed_for_a_window_is_forgiven() -> None:
    breaker = opened()
    call(breaker, 1_000)
    for _ in range(4):
        call(breaker, 11_000, Outcome.FAILED)
    assert breaker.until_us == 11_000 + 1_000


def test_breaker_keeps_a_bounded_story() -> None:
    breaker = opened()
    for _ in range(100):
        call(breaker, breaker.until_us, Outcome.FAILED)
    assert len(breaker.transitions) == 64


def test_policy_follows_the_settings() -> None:
    found = Settings.model_validate(
        {"dispatch": {"open_ms": 7, "minimum_calls": 3}, "serving": {"run_timeout_ms": 100}}
    )
    policy = Policy.of(found)
    assert (policy.open_us, policy.minimum_calls, policy.lease_us) == (7_000, 3, 150_000)


def test_policy_that_could_never_open_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="MINIMUM_CALLS"):
        Policy(window_calls=5, minimum_calls=6)
