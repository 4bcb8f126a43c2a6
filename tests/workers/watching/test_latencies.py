import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.workers.watching.latencies import NONE, PER_OCTAVE, Latencies

US = st.lists(st.floats(0, 1e9), max_size=200)
WIDTH = 2 ** (1 / PER_OCTAVE)


@given(US, US)
def test_latencies_add_up(here: list[float], there: list[float]) -> None:
    both = Latencies.of(here) + Latencies.of(there)
    assert both.counts.tolist() == Latencies.of(here + there).counts.tolist()
    assert len(both) == len(here) + len(there)


@given(US.filter(bool), st.floats(0.01, 1))
def test_quantile_is_right_to_within_a_bucket(us: list[float], share: float) -> None:
    exact = sorted(us)[math.ceil(share * len(us)) - 1]
    found = Latencies.of(us).quantile_us(share)
    assert exact <= found * (1 + 1e-9)
    assert found <= max(exact, 1.0) * WIDTH * (1 + 1e-9)


@given(US, st.sampled_from([0.5, 0.9, 0.99]), st.floats(0.5, 4))
def test_bounds_hold_the_quantile_that_was_seen(us: list[float], share: float, z: float) -> None:
    low, high = Latencies.of(us).bounds_us(share, z)
    assert low <= high
    if us:
        assert low <= sorted(us)[math.ceil(share * len(us)) - 1]
        assert high >= sorted(us)[math.ceil(share * len(us)) - 1]


def test_bounds_of_few_latencies_tell_nothing_of_their_tail() -> None:
    assert NONE.bounds_us(0.99, 1.645) == (0.0, math.inf)
    assert NONE.quantile_us(0.99) == 0.0
    assert Latencies.of([1_000]).bounds_us(0.99, 3.29) == (0.0, math.inf)
    few = Latencies.of([1_000] * 100)
    assert few.bounds_us(0.99, 1.645)[1] == math.inf
    many = Latencies.of([1_000] * 1_000)
    assert many.bounds_us(0.99, 1.645)[1] == pytest.approx(1_000, rel=0.05)


def test_bounds_are_right_as_often_as_they_say() -> None:
    """On latencies with a long tail; a bucket's width makes them right more often."""
    chance = np.random.default_rng(2)
    exact = math.exp(math.log(1_000) + 2.326348 * 0.5)
    missed = 0
    for _ in range(400):
        found = Latencies.of(chance.lognormal(math.log(1_000), 0.5, 3_000))
        low, high = found.bounds_us(0.99, 1.645)
        missed += not low <= exact <= high
    assert missed / 400 < 0.12


def test_longest_latencies_stay_in_the_last_bucket() -> None:
    assert Latencies.of([1e15]).counts[-1] == 1
    assert Latencies.of([0.0]).counts[0] == 1
