"""How much executors may have of a lane: the limit follows what they answer, and nothing else."""

import pytest

from chimera.agents.lanes.pace import LEAST_RECORDS, Pace

START, MOST = 512, 8_192


def pace() -> Pace:
    return Pace(START, MOST, within_s=30.0)


def answer(pace: Pace, count: int, *, took_s: float, left: int, times: int = 1) -> None:
    """Executors answer as many as that `times` times, each time in so long."""
    now_s = 0.0
    for _ in range(times):
        pace.given(now_s)
        pace.answered(count)
        now_s += took_s
        pace.measure(now_s, left)


def test_limit_begins_at_one_run() -> None:
    assert pace().limit == START
    assert Pace(START, 100, 30.0).limit == 100


def test_fast_executors_have_the_whole_window_after_few_commits() -> None:
    found = pace()
    answer(found, START, took_s=0.1, left=0, times=2)
    assert found.limit == MOST


@pytest.mark.parametrize(("a_second", "limit"), [(50.0, 375), (1 / 3, LEAST_RECORDS)])
def test_slow_executors_have_what_they_answer_in_a_quarter_of_the_time(
    a_second: float, limit: int
) -> None:
    found = pace()
    answer(found, 1, took_s=1 / a_second, left=START - 1, times=30)
    assert found.limit == pytest.approx(limit, rel=0.02)


def test_executors_that_become_slow_have_less_soon() -> None:
    found = pace()
    answer(found, MOST, took_s=0.1, left=MOST, times=20)
    assert found.limit == MOST
    answer(found, 1, took_s=0.02, left=MOST, times=30)
    assert found.limit < 400


def test_lane_that_left_executors_idle_lowers_nothing() -> None:
    found = pace()
    answer(found, 1, took_s=1.0, left=0, times=50)
    assert found.limit == START


def test_time_without_an_answer_says_nothing_until_there_is_one() -> None:
    found = pace()
    found.given(0.0)
    for second in range(60):
        found.measure(float(second), left=START)
    assert found.limit == START


def test_limit_is_never_larger_than_the_window() -> None:
    found = Pace(START, 40, 30.0)
    answer(found, 40, took_s=0.001, left=0, times=5)
    assert found.limit == 40
