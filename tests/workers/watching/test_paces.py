"""Batches are compared with those of their size alone, and few decide nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.workers.watching.latencies import Latencies
from chimera.workers.watching.paces import Paces, size_of

BUCKETS = st.dictionaries(
    st.integers(0, 48), st.dictionaries(st.integers(0, 576), st.integers(1, 9)), max_size=5
)


def paces(**us: float) -> Paces:
    """Two thousand batches of each size, `x8`: of 8 rows."""
    return Paces(
        {size_of(int(at[1:])): Latencies.of(np.full(2_000, one)) for at, one in us.items()}
    )


def is_slower(ours: Paces, theirs: Paces) -> bool | None:
    return ours.is_slower(1.5, theirs, z_slower=3.29, z_kept=1.645)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (paces(x8=100), paces(x8=100), False),
        (paces(x8=100), paces(x8=40), True),
        (paces(x256=2_000, x8=100), paces(x8=100), False),  # nobody had so large ones before
        (paces(x256=2_000, x8=200), paces(x8=100), True),
        (paces(x256=2_000, x8=100), paces(x8=100, x256=1_000), True),  # of one size is enough
        (paces(x256=2_000), paces(x8=100), None),
        (Paces(), paces(x8=100), None),
        (paces(x8=100), Paces(), None),
    ],
)
def test_version_is_slower_if_its_batches_of_a_size_are(
    ours: Paces, theirs: Paces, expected: bool | None
) -> None:
    assert is_slower(ours, theirs) is expected


@given(st.integers(1, 100), st.sampled_from([0.5, 1.0, 1.4]))
def test_few_batches_decide_nothing(count: int, factor: float) -> None:
    few = Paces({12: Latencies.of(np.full(count, 100 * factor))})
    assert is_slower(few, paces(x8=100)) is None


@given(BUCKETS, BUCKETS)
def test_paces_add_up_and_survive_their_way_to_others(
    one: dict[int, dict[int, int]], other: dict[int, dict[int, int]]
) -> None:
    one, other = ({at: it for at, it in found.items() if it} for found in (one, other))
    whole = Paces.in_buckets(one) + Paces.in_buckets(other)
    assert Paces.in_buckets(one).buckets == one
    assert Paces.in_buckets(whole.buckets).buckets == whole.buckets
    for size in {*one, *other}:
        every = {*one.get(size, {}), *other.get(size, {})}
        assert whole.buckets[size] == {
            at: one.get(size, {}).get(at, 0) + other.get(size, {}).get(at, 0) for at in every
        }


@given(st.integers(1, 100_000), st.integers(1, 100_000))
def test_batches_of_one_size_are_alike(rows: int, others: int) -> None:
    if size_of(rows) == size_of(others):
        assert max(rows, others) < 1.19 * min(rows, others)
    if rows <= others:
        assert size_of(rows) <= size_of(others)
