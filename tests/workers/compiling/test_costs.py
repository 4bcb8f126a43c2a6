"""When a tier has paid for itself, by hand."""

from chimera.schemas.compile_report import Steady, Timings
from chimera.workers.compiling.costs import pays_after


def timings(compile_s: float, p50: dict[int, float]) -> Timings:
    steady = tuple(Steady(rows, 10, ms, ms) for rows, ms in p50.items())
    return Timings(compile_s, 5.0, 1.0, 15.0, steady)


EAGER = timings(0, {1: 2.0, 32: 32.0, 256: 100.0})


def test_requests_until_it_paid_are_what_was_spent_over_what_each_saves() -> None:
    tier = timings(10, {1: 1.0, 32: 16.0, 256: 100.0})
    assert pays_after(tier, EAGER) == {1: 10_000, 32: 20_000, 256: None}


def test_slower_tier_never_pays() -> None:
    assert pays_after(timings(1, {1: 3.0}), EAGER) == {1: None}


def test_what_costs_nothing_pays_at_once() -> None:
    assert pays_after(timings(0, {1: 1.0}), EAGER) == {1: 0}


def test_sizes_that_eager_was_not_measured_at_are_left_out() -> None:
    assert pays_after(timings(1, {7: 1.0}), EAGER) == {}
