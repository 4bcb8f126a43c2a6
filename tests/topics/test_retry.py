from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import (
    REQUEST_ERRORS,
    BackendUnavailable,
    ModelFailed,
    RequestError,
    SchemaInvalid,
)
from chimera.schemas.serving_settings import ServingSettings
from chimera.topics.retry import (
    DeadLetter,
    Failed,
    Policy,
    RetryInLane,
    RetryOnTopic,
    backoff_ms,
    decide,
)

POLICY = Policy.of(ServingSettings())
NOW = 1_763_717_416_000

errors = st.sampled_from(REQUEST_ERRORS)
policies = st.builds(
    Policy,
    inline_retry_ms=st.integers(0, 20_000),
    decide_within_ms=st.integers(0, 60_000),
    delays_ms=st.lists(st.integers(1, 10**7), max_size=4).map(lambda it: tuple(sorted(it))),
)


@st.composite
def failures(draw: st.DrawFn) -> Failed:
    age = draw(st.integers(0, 40_000))
    deadline = draw(st.one_of(st.just(0), st.integers(NOW - 1_000, NOW + 10**7)))
    return Failed(
        error=draw(errors),
        ordering=draw(st.sampled_from(["key", "none"])),
        attempt=draw(st.integers(1, 10)),
        entered_ms=NOW - age,
        first_failure_ms=NOW - draw(st.integers(0, age)),
        deadline_ms=deadline,
    )


def failed(
    error: type[RequestError] = ModelFailed,
    ordering: Literal["key", "none"] = "key",
    attempt: int = 1,
    age_ms: int = 0,
    deadline_ms: int = 0,
) -> Failed:
    return Failed(
        error=error,
        ordering=ordering,
        attempt=attempt,
        entered_ms=NOW - age_ms,
        first_failure_ms=NOW - age_ms,
        deadline_ms=deadline_ms,
    )


@given(failures(), policies)
def test_decide_never_plans_a_try_at_or_past_the_deadline(failed: Failed, policy: Policy) -> None:
    match decide(failed, policy, NOW):
        case RetryInLane(at_ms) | RetryOnTopic(_, at_ms):
            assert at_ms > NOW
            assert not failed.deadline_ms or at_ms < failed.deadline_ms
        case DeadLetter():
            pass


@given(failures(), policies)
def test_decide_what_is_not_retriable_is_a_dead_letter_at_once(
    failed: Failed, policy: Policy
) -> None:
    if not failed.error.retriable:
        assert decide(failed, policy, NOW) == DeadLetter()


@given(failures(), policies)
def test_decide_ordering_says_where_a_retry_takes_place(failed: Failed, policy: Policy) -> None:
    match decide(failed, policy, NOW):
        case RetryInLane():
            assert failed.ordering == "key"
        case RetryOnTopic(rung, not_before_ms):
            assert failed.ordering == "none"
            assert not_before_ms - NOW == policy.delays_ms[rung]
        case DeadLetter():
            pass


@given(failures(), policies)
def test_decide_a_retry_in_lane_starts_within_both_of_its_limits(
    failed: Failed, policy: Policy
) -> None:
    decision = decide(failed, policy, NOW)
    if isinstance(decision, RetryInLane):
        assert decision.at_ms < failed.first_failure_ms + policy.inline_retry_ms
        assert decision.at_ms < failed.entered_ms + policy.decide_within_ms


@given(policies, st.integers(0, 3))
def test_decide_ordered_retries_come_to_an_end(policy: Policy, compute_ms: int) -> None:
    now, attempt = NOW, 1
    while True:
        failure = Failed(
            error=ModelFailed,
            ordering="key",
            attempt=attempt,
            entered_ms=NOW,
            first_failure_ms=NOW,
        )
        decision = decide(failure, policy, now)
        if not isinstance(decision, RetryInLane):
            break
        now, attempt = decision.at_ms + compute_ms, attempt + 1
    assert decision == DeadLetter()
    assert now <= NOW + min(policy.inline_retry_ms, policy.decide_within_ms) + compute_ms
    assert attempt < 30


def test_decide_unordered_climbs_the_ladder_and_then_is_a_dead_letter() -> None:
    steps = [decide(failed(ordering="none", attempt=n), POLICY, NOW) for n in (1, 2, 3, 4)]
    assert steps == [
        RetryOnTopic(0, NOW + 5_000),
        RetryOnTopic(1, NOW + 60_000),
        RetryOnTopic(2, NOW + 600_000),
        DeadLetter(),
    ]


def test_decide_ordered_backs_off_from_50_ms() -> None:
    assert decide(failed(), POLICY, NOW) == RetryInLane(NOW + 50)
    assert decide(failed(attempt=2), POLICY, NOW) == RetryInLane(NOW + 100)


def test_decide_ordered_past_its_inline_time_is_a_dead_letter() -> None:
    assert decide(failed(age_ms=4_949), POLICY, NOW) == RetryInLane(NOW + 50)
    assert decide(failed(age_ms=4_950), POLICY, NOW) == DeadLetter()


def test_decide_deadline_before_the_next_try_ends_retries() -> None:
    for ordering, wait in (("key", 50), ("none", 5_000)):
        late = failed(ordering=ordering, deadline_ms=NOW + wait)  # type: ignore[arg-type]  # a literal
        assert decide(late, POLICY, NOW) == DeadLetter()
        in_time = failed(ordering=ordering, deadline_ms=NOW + wait + 1)  # type: ignore[arg-type]  # a literal
        assert decide(in_time, POLICY, NOW) != DeadLetter()


def test_decide_reads_the_errors_own_attribute() -> None:
    assert decide(failed(BackendUnavailable), POLICY, NOW) == RetryInLane(NOW + 50)
    assert decide(failed(SchemaInvalid), POLICY, NOW) == DeadLetter()


@pytest.mark.parametrize(
    ("attempt", "pause_ms"), [(1, 50), (2, 100), (5, 800), (6, 1_000), (9_999, 1_000)]
)
def test_backoff_doubles_up_to_a_second(attempt: int, pause_ms: int) -> None:
    assert backoff_ms(attempt) == pause_ms
