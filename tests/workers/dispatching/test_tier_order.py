from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.tiers import BY_NAME, TIERS
from chimera.workers.dispatching.tier_order import HALF_LIFE_CALLS, Measured, Usage, order

FAST_AT_1 = Measured("torch-cpu", True, {1: 100, 32: 900, 256: 6_400})
FAST_AT_256 = Measured("onnx-cpu", True, {1: 400, 32: 600, 256: 1_600})
P99 = st.dictionaries(st.sampled_from([1, 32, 256]), st.floats(1, 1e7), max_size=3)
MEASURED = st.lists(
    st.builds(Measured, st.sampled_from(list(BY_NAME)), st.booleans(), P99),
    unique_by=lambda one: one.tier,
)
IN_USE = st.dictionaries(st.integers(1, 512), st.floats(0, 1), max_size=4)


def test_order_follows_what_is_served() -> None:
    tiers = (FAST_AT_256, FAST_AT_1)
    assert order(tiers, {1: 1.0}) == ("torch-cpu", "onnx-cpu")
    assert order(tiers, {256: 1.0}) == ("onnx-cpu", "torch-cpu")
    assert order(tiers, {1: 0.99, 256: 0.01}) == ("torch-cpu", "onnx-cpu")
    assert order(tiers, {1: 0.5, 256: 0.5}) == ("onnx-cpu", "torch-cpu")


def test_order_before_anything_was_served_is_that_of_one_row() -> None:
    assert order((FAST_AT_256, FAST_AT_1), {}) == ("torch-cpu", "onnx-cpu")


def test_order_of_equal_tiers_is_the_designs() -> None:
    tiers = [Measured(tier.name, True, {1: 5.0}) for tier in TIERS]
    expected = tuple(tier.name for tier in TIERS if not tier.experimental)
    assert order(list(reversed(tiers)), {1: 1.0}) == expected


def test_order_puts_tiers_that_were_not_measured_last() -> None:
    tiers = (Measured("onnx-cuda", True), Measured("torch-cuda", True), FAST_AT_1)
    assert order(tiers, {1: 1.0}) == ("torch-cpu", "onnx-cuda", "torch-cuda")


def test_order_leaves_out_tiers_that_this_release_does_not_know() -> None:
    assert order((Measured("quantum", True, {1: 1.0}), FAST_AT_1), {}) == ("torch-cpu",)


@given(MEASURED, IN_USE)
def test_order_holds_each_verified_tier_once_and_no_other(
    measured: list[Measured], in_use: dict[int, float]
) -> None:
    found = order(measured, in_use)
    assert sorted(found) == sorted(
        one.tier for one in measured if one.verified and not BY_NAME[one.tier].experimental
    )


@given(MEASURED.filter(lambda found: len(found) <= 4), IN_USE)
def test_order_does_not_depend_on_how_the_tiers_are_listed(
    measured: list[Measured], in_use: dict[int, float]
) -> None:
    assert len({order(listed, in_use) for listed in permutations(measured)}) == 1


@given(MEASURED, st.sampled_from([1, 32, 256]))
def test_order_by_one_measured_size_is_the_order_of_its_p99(
    measured: list[Measured], rows: int
) -> None:
    whole = [one for one in measured if rows in one.p99_us and one.may_serve]
    found = [
        one.p99_us[rows] for name in order(whole, {rows: 1.0}) for one in whole if one.tier == name
    ]
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("rows", "us"), [(1, 400), (16, 496.77), (32, 600), (144, 1_100), (256, 1_600), (512, 2_742.86)]
)
def test_expected_time_between_and_beyond_the_measured_sizes(rows: int, us: float) -> None:
    assert FAST_AT_256.expected_us(rows) == pytest.approx(us, abs=0.01)


def test_expected_time_of_a_tier_measured_once_grows_with_the_rows() -> None:
    assert Measured("onnx-cpu", True, {32: 640.0}).expected_us(64) == 1_280
    assert Measured("onnx-cpu", True, {32: 640.0}).expected_us(1) == 640


def test_usage_tells_shares_of_rows_by_powers_of_two() -> None:
    usage = Usage()
    assert usage.shares() == {}
    usage.add(1)
    usage.add(200)
    usage.add(199)
    assert usage.shares() == {1: 1 / 400, 256: 399 / 400}


def test_usage_forgets_what_was_served_long_ago() -> None:
    usage = Usage()
    for rows in (256, 1):
        for _ in range(20 * HALF_LIFE_CALLS):
            usage.add(rows)
    assert usage.shares()[1] > 0.99
