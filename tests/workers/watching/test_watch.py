"""The laws of a verdict, and how often chance alone would bring one about."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.model_commands import WatchPolicy
from chimera.schemas.model_events import Observed
from chimera.workers.watching.latencies import Latencies
from chimera.workers.watching.paces import Paces
from chimera.workers.watching.watch import Observation, Ruling, judge, total

POLICY = WatchPolicy(
    window_s=60, min_requests=500, max_error_rate=0.01, max_p99_ratio=1.5, max_disagreement=0.02
)
ERRORS_ONLY = WatchPolicy(window_s=60, min_requests=500, max_p99_ratio=None)
CALM = Latencies.of(np.full(2_000, 1_000.0))
SLOW = Latencies.of(np.full(2_000, 2_000.0))
PACE = Paces({12: CALM})
SLOW_PACE = Paces({12: SLOW})
GOOD = Observation(requests=2_000, latencies=CALM, paces=PACE, compared=2_000)
COUNTS = st.integers(0, 3_000)


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    requests, compared = draw(COUNTS), draw(COUNTS)
    us = draw(st.sampled_from([100.0, 1_000.0, 1_400.0, 2_000.0, 9_000.0]))
    return Observation(
        requests=requests,
        errors=draw(st.integers(0, requests)),
        latencies=Latencies.of(np.full(requests, us)),
        compared=compared,
        disagreed=draw(st.integers(0, compared)),
    )


def ruling(candidate: Observation, elapsed_s: float = 60, policy: WatchPolicy = POLICY) -> Ruling:
    return judge(policy, elapsed_s, candidate, GOOD).ruling


def test_watch_passes_what_is_as_before() -> None:
    verdict = judge(POLICY, 60, GOOD, GOOD)
    assert verdict.ruling is Ruling.PASS
    assert "error rate 0 of 2000" in verdict.reason


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (Observation(requests=2_000, errors=60, latencies=CALM, compared=2_000), "error rate 60"),
        (
            Observation(requests=2_000, latencies=SLOW, paces=SLOW_PACE, compared=2_000),
            "p99 2.0 ms, before 1.0 ms",
        ),
        (
            Observation(requests=2_000, latencies=CALM, compared=2_000, disagreed=90),
            "disagreement 90",
        ),
    ],
)
def test_watch_is_breached_at_any_time_and_says_why(candidate: Observation, reason: str) -> None:
    for elapsed_s in (0, 59, 60, 600):
        verdict = judge(POLICY, elapsed_s, candidate, GOOD)
        assert verdict.ruling is Ruling.BREACH
        assert verdict.reason.startswith(reason)


def test_watch_tells_all_breaches() -> None:
    bad = Observation(
        requests=2_000, errors=2_000, latencies=SLOW, paces=SLOW_PACE, compared=9, disagreed=9
    )
    reason = judge(POLICY, 0, bad, GOOD).reason
    assert ["error" in reason, "p99" in reason, "disagreement" in reason] == [True] * 3


def test_watch_is_not_breached_by_callers_that_are_more_than_before() -> None:
    crowded = Observation(requests=2_000, latencies=SLOW, paces=PACE, compared=2_000)
    assert [ruling(crowded, elapsed_s) for elapsed_s in (0, 60)] == [Ruling.WAIT, Ruling.PASS]
    assert "no longer" in judge(POLICY, 60, crowded, GOOD).reason


def test_watch_takes_waiting_for_slowness_at_its_end_where_batches_do_not_tell() -> None:
    untold = Observation(requests=2_000, latencies=SLOW, compared=2_000)
    larger = Observation(requests=2_000, latencies=SLOW, paces=Paces({32: SLOW}), compared=2_000)
    for seen in (untold, larger):
        assert [ruling(seen, at) for at in (0, 59, 60)] == [Ruling.WAIT, Ruling.WAIT, Ruling.BREACH]


def test_watch_of_the_same_load_is_decided_by_callers_alone() -> None:
    slow = Observation(requests=2_000, latencies=SLOW, paces=PACE, compared=2_000)
    for elapsed_s in (0, 60):
        verdict = judge(POLICY, elapsed_s, slow, GOOD, is_same_load=True)
        assert verdict.ruling is Ruling.BREACH


@given(observations(), st.floats(0, 200))
def test_watch_never_passes_before_its_window_and_its_requests(
    candidate: Observation, elapsed_s: float
) -> None:
    if ruling(candidate, elapsed_s) is Ruling.PASS:
        assert elapsed_s >= POLICY.window_s
        assert candidate.requests >= POLICY.min_requests


@given(observations(), st.floats(0, 200))
def test_watch_does_not_pass_or_breach_against_what_was_seen(
    candidate: Observation, elapsed_s: float
) -> None:
    found = ruling(candidate, elapsed_s)
    is_over = candidate.errors > POLICY.max_error_rate * candidate.requests
    disagrees = candidate.disagreed > (POLICY.max_disagreement or 0) * candidate.compared
    is_slow = candidate.latencies.quantile_us(0.99) > 1_500
    if found is Ruling.PASS:
        assert not (is_over or disagrees or is_slow)
    if found is Ruling.BREACH:
        assert is_over or disagrees or is_slow


@given(observations(), st.integers(0, 500))
def test_watch_that_is_breached_stays_so_with_more_errors(
    candidate: Observation, more: int
) -> None:
    if ruling(candidate) is Ruling.BREACH:
        worse = candidate + Observation(requests=more, errors=more)
        assert ruling(worse) is Ruling.BREACH


@given(st.integers(1, 2), st.booleans())
def test_watch_of_one_or_two_requests_decides_nothing(requests: int, fails: bool) -> None:
    few = Observation(requests=requests, errors=requests * fails, latencies=Latencies.of([1e6]))
    policy = WatchPolicy(window_s=0, min_requests=0, max_error_rate=0.03)
    assert ruling(few, policy=policy) is Ruling.WAIT


def test_watch_of_a_version_that_only_fails_is_over_soon() -> None:
    failing = Observation(requests=3, errors=3)
    assert ruling(failing, elapsed_s=0) is Ruling.BREACH


def test_watch_without_enough_to_tell_goes_on() -> None:
    policy = WatchPolicy(window_s=60, min_requests=100, max_p99_ratio=None)
    verdict = judge(policy, 600, Observation(requests=120, errors=1), None)
    assert (verdict.ruling, verdict.reason) == (
        Ruling.WAIT,
        "error rate 1 of 120, limit 1.000%: too few to tell",
    )


def test_watch_without_comparisons_goes_on_where_they_are_asked_for() -> None:
    silent = Observation(requests=2_000, latencies=CALM)
    assert ruling(silent) is Ruling.WAIT
    assert ruling(silent, policy=WatchPolicy(window_s=60)) is Ruling.PASS


def test_watch_neither_passes_nor_breaches_against_a_version_that_was_hardly_used() -> None:
    hardly = Observation(requests=50, latencies=Latencies.of([1_000.0] * 50))
    slow = Observation(requests=2_000, latencies=SLOW)
    policy = WatchPolicy(window_s=60)
    assert judge(policy, 60, slow, hardly).ruling is Ruling.WAIT


def test_watch_of_a_first_version_looks_at_errors_alone() -> None:
    first = Observation(requests=2_000, latencies=SLOW)
    assert judge(POLICY, 60, first, None).ruling is Ruling.PASS


def test_watch_that_allows_no_error_is_breached_by_the_first() -> None:
    policy = WatchPolicy(window_s=60, min_requests=500, max_error_rate=0, max_p99_ratio=None)
    assert ruling(Observation(requests=500), policy=policy) is Ruling.PASS
    assert ruling(Observation(requests=500, errors=1), policy=policy) is Ruling.BREACH


@pytest.mark.parametrize(
    ("share", "breached", "passed"),
    [(0.002, (0, 0.01), (0.99, 1)), (0.005, (0, 0.01), (0.9, 1)), (0.02, (0.95, 1), (0, 0.01))],
)
def test_watch_errs_seldom_however_often_it_is_asked(
    share: float, breached: tuple[float, float], passed: tuple[float, float]
) -> None:
    """Asked after every 100 of 10,000 requests, of which `share` fail; the limit is 1 %."""
    chance = np.random.default_rng(3)
    ends: list[Ruling] = []
    for _ in range(300):
        errors = np.cumsum(chance.binomial(100, share, 100)).tolist()
        seen = (
            judge(ERRORS_ONLY, at, Observation(requests=100 * at, errors=errors[at - 1]), None)
            for at in range(1, 101)
        )
        ends.append(
            next((one.ruling for one in seen if one.ruling is not Ruling.WAIT), Ruling.WAIT)
        )
    assert breached[0] <= ends.count(Ruling.BREACH) / 300 <= breached[1]
    assert passed[0] <= ends.count(Ruling.PASS) / 300 <= passed[1]


def test_watch_at_the_limit_itself_is_seldom_breached() -> None:
    chance = np.random.default_rng(4)
    breaches = 0
    for _ in range(300):
        errors = np.cumsum(chance.binomial(100, 0.01, 60)).tolist()
        seen = (
            judge(ERRORS_ONLY, 0, Observation(requests=100 * at, errors=errors[at - 1]), None)
            for at in range(1, 61)
        )
        breaches += any(one.ruling is Ruling.BREACH for one in seen)
    assert breaches / 300 < 0.05


@pytest.mark.parametrize(("factor", "expected"), [(1.0, Ruling.PASS), (2.5, Ruling.BREACH)])
def test_watch_sees_slower_latencies_behind_their_noise(factor: float, expected: Ruling) -> None:
    chance = np.random.default_rng(5)
    for _ in range(20):
        us = chance.lognormal(math.log(1_000), 0.3, (2, 5_000))
        before = Observation(requests=5_000, latencies=Latencies.of(us[0]), compared=5_000)
        after = Observation(requests=5_000, latencies=Latencies.of(us[1] * factor), compared=5_000)
        assert judge(POLICY, 60, after, before).ruling is expected


@given(st.lists(observations(), max_size=4))
def test_observations_add_up_in_any_grouping(series: list[Observation]) -> None:
    whole = total(series)
    halves = total(series[:2]) + total(series[2:])
    assert whole.observed() == halves.observed()
    assert whole.requests == sum(one.requests for one in series)


def test_observation_is_told_as_an_event() -> None:
    seen = Observation(requests=9, errors=1, latencies=CALM, compared=3, disagreed=2).observed()
    assert (seen.requests, seen.errors, seen.compared, seen.disagreed) == (9, 1, 3, 2)
    assert isinstance(seen, Observed) and seen.p99_us == pytest.approx(1_000, rel=0.05)
