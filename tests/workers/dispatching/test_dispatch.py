"""The dispatcher under any history: the best tier that may serve, one probe each, no dead end."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chimera.schemas.errors import BackendUnavailable, DeadlineExceeded, ModelRefused
from chimera.schemas.settings import Settings
from chimera.schemas.tiers import BY_NAME
from chimera.workers.dispatching.breakers import Permit, State, Transition
from chimera.workers.dispatching.breakers import Policy as BreakerPolicy
from chimera.workers.dispatching.dispatch import Call, Dispatcher, GiveUp, Policy, Wait
from chimera.workers.dispatching.outcomes import Outcome
from chimera.workers.dispatching.tier_order import Measured

POLICY = Policy(
    timeout_us=1_000_000,
    breaker=BreakerPolicy(minimum_calls=2, window_calls=4, lease_us=1_500_000),
)
FAST = Measured("onnx-cuda", True, {1: 10_000, 256: 20_000})
MIDDLE = Measured("onnx-cpu", True, {1: 20_000, 256: 100_000})
LAST = Measured("torch-cpu", True, {1: 30_000, 256: 200_000})
FAST_AT_1 = Measured("torch-cpu", True, {1: 100, 256: 6_000})
BAD = (Outcome.FAILED, Outcome.OUT_OF_MEMORY)
TIERS = st.lists(
    st.builds(
        Measured,
        st.sampled_from(list(BY_NAME)),
        st.booleans(),
        st.dictionaries(st.sampled_from([1, 32, 256]), st.floats(1, 1e6), max_size=3),
    ),
    unique_by=lambda one: one.tier,
    min_size=1,
).filter(lambda tiers: any(one.may_serve for one in tiers))


class DispatcherMachine(RuleBasedStateMachine):
    """Breakers are seen from outside only: by what was called, and by the transitions told."""

    def __init__(self) -> None:
        super().__init__()
        self.serving = {FAST.tier}
        self.dispatcher = dispatcher(FAST)
        self.now_us = 0
        self.running: list[Call] = []
        self.seen: dict[str, Transition] = {}
        self.probes: dict[str, Permit] = {}  # by tier: what it waits for

    @initialize(tiers=TIERS)
    def begin(self, tiers: list[Measured]) -> None:
        self.serving = {one.tier for one in tiers if one.may_serve}
        self.dispatcher = Dispatcher("m/1", tiers, POLICY, random.Random(1).random)

    @rule(us=st.sampled_from([1, 100_000, 1_000_000, 1_500_000, 31_000_000]))
    def pass_time(self, us: int) -> None:
        self.now_us += us

    @rule(rows=st.sampled_from([1, 8, 256]), tried=st.sets(st.sampled_from(list(BY_NAME))))
    def ask(self, rows: int, tried: set[str]) -> None:
        step = self.dispatcher.next_tier(self.now_us, rows=rows, tried=tried)
        transitions = self.dispatcher.take_transitions()
        self.take([one for one in transitions if one[1].after is not State.HALF_OPEN])
        may = {tier for tier in self.serving if self.may_be_called(tier)}
        if isinstance(step, Wait):
            assert not may and step.until_us > self.now_us
        elif isinstance(step, GiveUp):
            assert may and may <= tried
            assert step.error is BackendUnavailable and step.error.retriable
        else:
            best = [tier for tier in self.dispatcher.order if tier in may - tried]
            assert step.tier == best[0], "not the first that may be called"
            self.running.append(step)
            if step.permit.is_probe:
                assert step.tier not in self.probes
                self.probes[step.tier] = step.permit
        self.take([one for one in transitions if one[1].after is State.HALF_OPEN])

    def may_be_called(self, tier: str) -> bool:
        last = self.seen.get(tier)
        if last is None or last.after is State.CLOSED:
            return True
        if last.after is State.OPEN:
            return self.now_us >= last.until_us
        return tier not in self.probes

    def take(self, transitions: list[tuple[str, Transition]]) -> None:
        for tier, transition in transitions:
            self.seen[tier] = transition
            if transition.after is not State.HALF_OPEN:
                self.probes.pop(tier, None)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), outcome=st.sampled_from(list(Outcome)), us=st.integers(0, 2_000_000))
    def record(self, data: st.DataObject, outcome: Outcome, us: int) -> None:
        call = data.draw(st.sampled_from(self.running))
        self.running.remove(call)
        self.dispatcher.record(call, outcome, us, self.now_us)
        self.take(self.dispatcher.take_transitions())
        if self.probes.get(call.tier) == call.permit:
            del self.probes[call.tier]  # it told nothing: another may go

    @precondition(lambda self: self.running)
    @rule()
    def lose_a_call(self) -> None:
        self.running.pop()

    @rule(rows=st.sampled_from([1, 256]))
    def reorder(self, rows: int) -> None:
        self.dispatcher.reorder({rows: 1.0})

    @rule()
    def recover(self) -> None:
        """From anywhere, when tiers compute again, the first one serves within a few steps."""
        for _ in range(3 * len(self.serving)):
            step = self.dispatcher.next_tier(self.now_us)
            assert not isinstance(step, GiveUp)
            if isinstance(step, Wait):
                self.now_us = step.until_us
            else:
                self.dispatcher.record(step, Outcome.COMPUTED, 1, self.now_us)
                if not step.permit.is_probe:
                    break
        else:
            raise AssertionError("no tier recovered")
        for _ in range(3):  # the first time, calls that were lost before may open it once more
            self.now_us += 100_000_000
            step = self.dispatcher.next_tier(self.now_us)
            if isinstance(step, Call):
                self.dispatcher.record(step, Outcome.COMPUTED, 1, self.now_us)
        step = self.dispatcher.next_tier(self.now_us)
        assert isinstance(step, Call) and step.tier == self.dispatcher.order[0]
        assert not step.permit.is_probe
        self.dispatcher.record(step, Outcome.COMPUTED, 1, self.now_us)
        self.take(self.dispatcher.take_transitions())

    @invariant()
    def only_verified_tiers_are_there(self) -> None:
        assert set(self.dispatcher.order) == self.serving == set(self.dispatcher.states())
        assert not [tier for tier in self.dispatcher.order if BY_NAME[tier].experimental]


DispatcherMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None
)
TestDispatcher = DispatcherMachine.TestCase


def dispatcher(*tiers: Measured) -> Dispatcher:
    return Dispatcher("m/1", tiers or (LAST, FAST, MIDDLE), POLICY, lambda: 0.0)


def called(step: Call | Wait | GiveUp) -> Call:
    assert isinstance(step, Call), step
    return step


def fail(found: Dispatcher, tier: str, now_us: int = 0) -> None:
    """Open the breaker of one tier."""
    others = set(found.order) - {tier}
    while found.states()[tier] is not State.OPEN:
        call = called(found.next_tier(now_us, tried=others))
        found.record(call, Outcome.FAILED, 1, now_us)


def test_dispatcher_without_a_verified_tier_is_refused() -> None:
    tiers = [Measured("onnx-cpu", False, {1: 1.0}), Measured("tensorrt-fp16", True, {1: 1.0})]
    with pytest.raises(ModelRefused, match="m/1: none of its tiers is verified"):
        Dispatcher("m/1", tiers, POLICY)


def test_next_tier_after_a_failure_is_the_next_best() -> None:
    found = dispatcher()
    tried: list[str] = []
    for _ in range(3):
        call = called(found.next_tier(0, tried=tried))
        found.record(call, Outcome.FAILED, 1, 0)
        tried.append(call.tier)
    assert tried == ["onnx-cuda", "onnx-cpu", "torch-cpu"]
    assert found.next_tier(0, tried=tried) == GiveUp(BackendUnavailable)


def test_next_tier_is_due_for_a_probe_before_a_slower_one_is_used() -> None:
    found = dispatcher()
    fail(found, "onnx-cuda")
    assert called(found.next_tier(999_999)).tier == "onnx-cpu"
    probe = called(found.next_tier(1_000_000))
    assert (probe.tier, probe.permit.is_probe) == ("onnx-cuda", True)
    assert called(found.next_tier(1_000_000)).tier == "onnx-cpu", "one probe"
    found.record(probe, Outcome.COMPUTED, 10_000, 1_010_000)
    assert called(found.next_tier(1_010_000)).tier == "onnx-cuda"


def test_next_tier_waits_while_every_tier_is_open() -> None:
    found = dispatcher()
    for at, tier in enumerate(found.order):
        fail(found, tier, at)
    assert found.next_tier(2) == Wait(1_000_000)
    assert found.next_tier(2, deadline_us=500) == Wait(500)
    assert found.next_tier(500, deadline_us=500) == GiveUp(DeadlineExceeded)
    probes = [called(found.next_tier(1_000_002)).tier for _ in range(3)]
    assert probes == ["onnx-cuda", "onnx-cpu", "torch-cpu"]
    assert found.next_tier(1_000_002) == Wait(2_500_002), "the first probe's lease"


def test_next_tier_is_no_probe_for_a_request_that_could_not_survive_it() -> None:
    found = dispatcher(FAST, MIDDLE)
    fail(found, "onnx-cuda")
    now_us = 1_000_000
    assert called(found.next_tier(now_us, now_us + 149_999)).tier == "onnx-cpu"
    probe = called(found.next_tier(now_us, now_us + 150_000))
    assert (probe.tier, probe.permit.is_probe) == ("onnx-cuda", True)


def test_next_tier_is_a_probe_at_any_deadline_where_nothing_else_is_left() -> None:
    found = dispatcher(FAST)
    fail(found, "onnx-cuda")
    probe = called(found.next_tier(1_000_000, 1_000_010))
    assert probe.permit.is_probe


@pytest.mark.parametrize("outcome", BAD)
def test_record_opens_a_tier_that_fails(outcome: Outcome) -> None:
    found = dispatcher(FAST)
    for _ in range(2):
        found.record(called(found.next_tier(0)), outcome, 1, 0)
    assert found.states() == {"onnx-cuda": State.OPEN}


def test_record_of_a_large_batch_is_slow_only_for_its_size() -> None:
    found = dispatcher(FAST)
    for _ in range(4):
        found.record(called(found.next_tier(0, rows=256)), Outcome.COMPUTED, 100_000, 0)
    assert found.states() == {"onnx-cuda": State.CLOSED}
    for _ in range(4):
        found.record(called(found.next_tier(0, rows=1)), Outcome.COMPUTED, 100_000, 0)
    assert found.states() == {"onnx-cuda": State.OPEN}


def test_contradicted_refusals_open_a_tier() -> None:
    found = dispatcher(FAST, MIDDLE)
    for _ in range(2):
        found.record(called(found.next_tier(0)), Outcome.REFUSED, 1, 0)
        assert found.states()["onnx-cuda"] is State.CLOSED
        found.contradict("onnx-cuda", 0)
    assert found.states()["onnx-cuda"] is State.OPEN


def refuse(found: Dispatcher, request: str, now_us: int) -> None:
    found.record(called(found.next_tier(now_us)), Outcome.REFUSED, 1, now_us, request)


def test_different_requests_refused_in_a_row_open_a_tier_however_slowly_they_come() -> None:
    found = dispatcher(FAST)
    refuse(found, "one", 0)
    assert found.states()["onnx-cuda"] is State.CLOSED
    refuse(found, "two", 3_600_000_000)
    assert found.states()["onnx-cuda"] is State.OPEN
    ((_, transition),) = found.take_transitions()
    assert transition.reason == "2 requests in a row failed"


def test_tier_that_ended_executors_is_probed_as_late_as_possible() -> None:
    found = dispatcher(FAST, MIDDLE)
    found.ended("onnx-cuda", 2, 0)
    found.ended("of another release", 2, 0)
    assert called(found.next_tier(59_999_999)).tier == "onnx-cpu"
    assert called(found.next_tier(60_000_000)).permit.is_probe
    ((tier, transition), *_) = found.take_transitions()
    assert (tier, transition.reason) == ("onnx-cuda", "it ended 2 executors")


def test_requests_that_are_refused_between_computed_ones_open_nothing() -> None:
    found = dispatcher(FAST)
    for at in range(20):
        refuse(found, f"poison {at}", at)
        found.record(called(found.next_tier(at)), Outcome.COMPUTED, 1, at)
    assert found.states()["onnx-cuda"] is State.CLOSED


def test_one_request_that_is_refused_again_and_again_opens_nothing() -> None:
    found = dispatcher(FAST)
    for at in range(50):
        refuse(found, "poison", at)
    assert found.states()["onnx-cuda"] is State.CLOSED


def test_probe_that_is_refused_in_an_outage_has_failed() -> None:
    found = dispatcher(FAST)
    refuse(found, "one", 0)
    refuse(found, "two", 0)
    refuse(found, "one", 1_000_000)
    assert found.next_tier(1_000_001) == Wait(3_000_000), "for twice as long"
    found.record(called(found.next_tier(3_000_000)), Outcome.COMPUTED, 1, 3_000_000)
    refuse(found, "one", 3_000_001)
    assert found.states()["onnx-cuda"] is State.CLOSED, "the row begins anew"


def test_order_follows_the_batch_sizes_that_are_recorded() -> None:
    found = dispatcher(Measured("onnx-cpu", True, {1: 400, 256: 500}), FAST_AT_1)
    assert found.order[0] == "torch-cpu"
    for _ in range(256):
        found.record(called(found.next_tier(0, rows=256)), Outcome.COMPUTED, 1, 0)
    assert found.order[0] == "onnx-cpu"


def test_transitions_are_told_once_and_name_their_tier() -> None:
    found = dispatcher()
    fail(found, "onnx-cpu", 7)
    ((tier, transition),) = found.take_transitions()
    assert (tier, transition.after, transition.at_us) == ("onnx-cpu", State.OPEN, 7)
    assert transition.until_us == 1_000_007
    assert found.take_transitions() == []


@given(st.integers(-5, 5))
def test_next_tier_at_or_past_the_deadline_gives_up(left_us: int) -> None:
    step = dispatcher().next_tier(100, 100 + left_us)
    assert isinstance(step, GiveUp) == (left_us <= 0)


def test_policy_follows_the_settings() -> None:
    found = Settings.model_validate(
        {"dispatch": {"slow_factor": 3, "open_ms": 5}, "serving": {"run_timeout_ms": 70}}
    )
    policy = Policy.of(found)
    assert (policy.timeout_us, policy.slow_factor) == (70_000, 3)
    assert policy.breaker.open_us == 5_000
