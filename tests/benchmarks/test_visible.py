"""When results became visible, and the rate that follows from it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import visible


def test_visible_at_takes_the_first_sample_whose_end_lies_past_the_offset() -> None:
    samples = np.array([0.0, 1.0, 2.0, 3.0])
    ends = np.array([0, 2, 2, 5])
    offsets = np.array([0, 1, 2, 4])
    assert visible.visible_at(samples, ends, offsets).tolist() == [1.0, 1.0, 3.0, 3.0]


def test_visible_at_an_offset_that_came_after_the_last_sample() -> None:
    found = visible.visible_at(np.array([0.0, 1.0]), np.array([0, 2]), np.array([7]))
    assert found.tolist() == [1.0]


def test_first_seen_counts_a_repeated_id_once_and_at_its_first_time() -> None:
    found = visible.first_seen(np.array([7, 3, 7]), np.array([5.0, 2.0, 1.0]))
    assert found.tolist() == [1.0, 2.0]


def test_rate_leaves_the_first_tenth_out() -> None:
    start_up = np.arange(10.0)  # one a second, then 45 a second
    steady = 9.0 + np.arange(1, 91) / 45
    found = visible.rate(np.concatenate([start_up, steady]), records=100)
    assert (found.begins, found.ends, found.counted) == (9.0, 11.0, 90)
    assert found.rps == pytest.approx(45.0)
    assert found.rps_from_first == pytest.approx(9.0)


def test_rate_of_repeats_counts_ids_and_reports_records() -> None:
    found = visible.rate(np.linspace(0.0, 1.0, 11), records=15)
    assert (found.visible, found.records) == (11, 15)


@pytest.mark.parametrize("times", [[], [1.0], [2.0, 2.0, 2.0]])
def test_rate_without_a_span_is_zero(times: list[float]) -> None:
    assert visible.rate(np.array(times), records=len(times)).rps == 0.0


@given(
    st.lists(st.integers(0, 10**8).map(lambda us: us / 1e6), min_size=20, max_size=200),
    st.floats(0.5, 4.0),
)
def test_rate_scales_with_time(times: list[float], factor: float) -> None:
    sorted_times = np.sort(np.array(times))
    one = visible.rate(sorted_times, len(times))
    slower = visible.rate(sorted_times * factor, len(times))
    if one.rps and slower.counted == one.counted:  # rounding may merge two times
        assert slower.rps * factor == pytest.approx(one.rps, rel=1e-6)


def test_percentiles_of_nothing_are_none() -> None:
    assert visible.percentiles(np.empty(0)) == {}
