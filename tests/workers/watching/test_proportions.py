"""Published bounds, and how often chance alone breaks them: no more often than they say."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.workers.watching.proportions import surely_above, surely_below, wilson


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (10, 100, 0.055229, 0.174366),
        (0, 20, 0.0, 0.161130),
        (81, 263, 0.255284, 0.366226),
        (15, 148, 0.062386, 0.160528),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_has_the_published_bounds(hits: int, trials: int, low: float, high: float) -> None:
    """At 95 %; the last two with trials are Newcombe's (1998) examples, to four digits."""
    found = wilson(hits, trials, 1.959964)
    assert (float(found[0]), float(found[1])) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.floats(0.1, 5))
def test_wilson_holds_the_share_that_was_seen(hits: int, more: int, z: float) -> None:
    trials = hits + more
    low, high = map(float, wilson(hits, trials, z))
    assert -1e-9 <= low <= hits / trials + 1e-9
    assert hits / trials - 1e-9 <= high <= 1 + 1e-9


@given(st.integers(0, 500), st.integers(0, 500), st.floats(1, 4))
def test_wilson_is_sure_of_more_with_more_trials(hits: int, misses: int, z: float) -> None:
    trials = hits + misses + 1
    few, many = wilson(hits, trials, z), wilson(10 * hits, 10 * trials, z)
    assert few[0] <= many[0] + 1e-9
    assert many[1] <= few[1] + 1e-9


def test_wilson_bounds_are_right_as_often_as_they_say() -> None:
    """Each side, at 5 %; the score interval is known to be near its level, not above it always."""
    chance = np.random.default_rng(1)
    for share in (0.01, 0.1, 0.5):
        hits = chance.binomial(2_000, share, 20_000)
        low, high = wilson(hits, 2_000, 1.645)
        assert float((low > share).mean()) == pytest.approx(0.05, abs=0.02)
        assert float((high < share).mean()) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("trials", [1, 2, 5, 20, 100, 1_000])
@pytest.mark.parametrize("limit", [0.001, 0.01, 0.1, 0.5])
@pytest.mark.parametrize(("z", "chance"), [(1.645, 0.05), (3.29, 0.0005)])
def test_proportion_at_its_limit_is_seldom_said_to_be_above(
    trials: int, limit: float, z: float, chance: float
) -> None:
    """The exact chance of a wrong claim, summed over all counts, for however few trials."""
    wrong = sum(
        comb(trials, hits) * limit**hits * (1 - limit) ** (trials - hits)
        for hits in range(trials + 1)
        if surely_above(hits, trials, limit, z)
    )
    assert wrong <= chance * 1.01  # z is rounded


def test_score_interval_would_say_so_too_often() -> None:
    """Why `surely_above` does not use it: the first error of all is 1 in 100, not 1 in 2,000."""
    assert wilson(1, 1, 3.29)[0] > 0.01
    assert not surely_above(1, 1, 0.01, 3.29)
    assert surely_above(2, 2, 0.01, 3.29)


@pytest.mark.parametrize("trials", [300, 1_000, 10_000])
@pytest.mark.parametrize("limit", [0.01, 0.1, 0.5])
def test_proportion_at_its_limit_is_seldom_said_to_be_below(trials: int, limit: float) -> None:
    hits = np.random.default_rng(1).binomial(trials, limit, 20_000)
    assert surely_below(hits, trials, limit, 1.645).mean() < 0.08


@given(st.integers(0, 1_000), st.integers(0, 1_000), st.floats(0, 1), st.floats(1, 4))
def test_proportion_is_never_said_to_be_both_or_what_was_not_seen(
    hits: int, more: int, limit: float, z: float
) -> None:
    trials = hits + more
    above, below = surely_above(hits, trials, limit, z), surely_below(hits, trials, limit, z)
    assert not (above and below)
    assert not above or hits > limit * trials
    assert not below or hits <= limit * trials + 1e-6


@given(st.integers(1, 300), st.integers(0, 300), st.floats(0.001, 0.9))
def test_proportion_that_is_above_stays_so_with_more_hits(
    hits: int, more: int, limit: float
) -> None:
    if surely_above(hits, hits + more, limit, 3.29):
        assert surely_above(hits + 1, hits + more + 1, limit, 3.29)


def test_proportions_of_a_limit_that_nothing_or_everything_passes() -> None:
    assert surely_above(1, 1_000, 0.0, 3.29)
    assert not surely_above(0, 1_000, 0.0, 3.29)
    assert not surely_above(1_000, 1_000, 1.0, 3.29)
    assert surely_below(1_000, 1_000, 1.0, 1.645)
    assert not surely_above(0, 0, 0.5, 1.645)
    assert not surely_below(0, 0, 0.5, 1.645)
