"""The order of tiers: what is measured decides, the design's order only where it does not."""

from collections.abc import Mapping, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.compile_report import (
    PRECISIONS,
    CompileReport,
    Steady,
    TierReport,
    Timings,
    Verdict,
)
from chimera.schemas.tiers import BY_NAME, TIERS
from chimera.workers.dispatching.choice import choose

SIZES: tuple[int, ...] = (1, 32, 256)
VERDICTS: list[Verdict] = ["verified", "verified", "rejected", "failed", "skipped"]


def tier(
    name: str, p99: Mapping[int, float] | None, verdict: Verdict = "verified", **fields: object
) -> TierReport:
    steady = tuple(Steady(rows, 100, ms / 2, ms) for rows, ms in sorted((p99 or {}).items()))
    timings = None if p99 is None else Timings(1.0, 1.0, 1.0, 1.0, steady)
    precision = "fp16" if name.endswith("fp16") else "fp32"
    given_fields: dict[str, object] = {"precision": precision, "timings": timings, **fields}
    return TierReport(name, verdict=verdict, **given_fields)  # type: ignore[arg-type]  # of any field


def report(tiers: Sequence[TierReport]) -> CompileReport:
    return CompileReport("m", "1", "0" * 64, "torch-cpu", 0, 0.0, {}, 256, tuple(tiers))


def names(tiers: Sequence[TierReport], sizes: Sequence[int]) -> list[str]:
    return [one.variant for one in choose(report(tiers), sizes)]


SMALL = tier("onnx-cpu", {1: 1.0, 32: 30.0, 256: 900.0})
LARGE = tier("torch-compiled-cpu", {1: 3.0, 32: 29.0, 256: 300.0})


@pytest.mark.parametrize(
    ("sizes", "first"),
    [((1,), SMALL), ((256,), LARGE), ((32,), LARGE), ((1, 1, 32), SMALL), ((1, 256, 256), LARGE)],
)
def test_tier_that_wins_at_one_size_may_lose_at_another(
    sizes: tuple[int, ...], first: TierReport
) -> None:
    assert choose(report([SMALL, LARGE]), sizes)[0] == first


def test_size_that_was_not_measured_is_on_the_line_between_those_that_were() -> None:
    assert names([SMALL, LARGE], (8,)) == names([SMALL, LARGE], (1,))
    assert names([SMALL, LARGE], (33,)) == names([SMALL, LARGE], (256,))
    assert names([SMALL, LARGE], (1000,)) == names([SMALL, LARGE], (256,))


def test_experimental_tier_is_left_out() -> None:
    assert names([tier("tensorrt-fp32", {1: 0.1}), SMALL], (1,)) == ["onnx-cpu"]


def test_equal_tiers_are_in_the_designs_order_and_the_exact_precision_first() -> None:
    same = {1: 1.0}
    tiers = [
        tier("torch-cpu", same),
        tier("onnx-cpu", same, precision="int8"),
        tier("onnx-cpu", same),
        tier("onnx-cuda", same),
    ]
    assert names(tiers, (1,)) == ["onnx-cuda", "onnx-cpu", "onnx-cpu-int8", "torch-cpu"]


def test_tier_that_was_never_measured_comes_last() -> None:
    tiers = [tier("onnx-cuda", None), tier("torch-cuda", {}), tier("torch-cpu", {1: 99.0})]
    assert names(tiers, (1,)) == ["torch-cpu", "onnx-cuda", "torch-cuda"]


def test_nothing_verified_gives_nothing() -> None:
    assert names([tier("onnx-cpu", {1: 1.0}, "rejected")], (1,)) == []


times = st.floats(0.001, 1e4)


@st.composite
def variants(draw: st.DrawFn) -> TierReport:
    p99 = draw(st.none() | st.fixed_dictionaries(dict.fromkeys(SIZES, times)))
    verdict: Verdict = draw(st.sampled_from(VERDICTS))
    precision = draw(st.sampled_from(PRECISIONS))
    return tier(draw(st.sampled_from(TIERS)).name, p99, verdict, precision=precision)


tiers_of_any_kind = st.lists(variants(), max_size=9, unique_by=lambda one: one.variant)
sizes_in_use = st.lists(st.integers(1, 256), max_size=4)


@given(tiers_of_any_kind, sizes_in_use)
def test_order_has_each_variant_that_may_serve_once_and_no_other(
    tiers: list[TierReport], sizes: list[int]
) -> None:
    wanted = {
        one.variant
        for one in tiers
        if one.verdict == "verified" and not BY_NAME[one.tier].experimental
    }
    found = names(tiers, sizes)
    assert len(found) == len(wanted)
    assert set(found) == wanted


@given(tiers_of_any_kind, sizes_in_use, st.randoms())
def test_order_depends_on_no_order_of_the_report_or_of_the_sizes(
    tiers: list[TierReport], sizes: list[int], random: Random
) -> None:
    shuffled, other = list(tiers), list(sizes)
    random.shuffle(shuffled)
    other.sort()
    assert names(tiers, sorted(sizes)) == names(shuffled, other)


@given(tiers_of_any_kind, st.sampled_from(SIZES))
def test_at_one_size_nobody_follows_a_slower_one(tiers: list[TierReport], size: int) -> None:
    p99 = [
        next((s.p99_ms for s in one.timings.steady if s.rows == size), None)
        for one in choose(report(tiers), (size,))
        if one.timings is not None
    ]
    measured = [ms for ms in p99 if ms is not None]
    assert measured == sorted(measured)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=4), st.sampled_from(SIZES))
def test_order_is_the_same_on_a_machine_that_is_slower_throughout(
    exponents: list[int], size: int
) -> None:
    names_of = [one.name for one in TIERS]
    plain = [tier(name, {size: 2.0**e}) for name, e in zip(names_of, exponents, strict=False)]
    slow = [
        tier(name, {size: 2.0 ** (e + 3)}) for name, e in zip(names_of, exponents, strict=False)
    ]
    assert names(plain, (size,)) == names(slow, (size,))


@given(tiers_of_any_kind, sizes_in_use)
def test_tier_that_is_faster_everywhere_is_before(
    tiers: list[TierReport], sizes: list[int]
) -> None:
    order = choose(report(tiers), sizes)
    for at, one in enumerate(order):
        for other in order[at + 1 :]:
            if one.timings is None or other.timings is None or not sizes:
                continue
            pairs = list(zip(one.timings.steady, other.timings.steady, strict=True))
            assert not all(b.p99_ms < a.p99_ms for a, b in pairs)
