"""Samples wait in their order, within bounds of rows and bytes, and are cut between requests."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chimera.workers.shadowing.backlog import Backlog
from chimera.workers.shadowing.samples import Sample
from tests.workers.fakes import served

SERVED, OTHER = served(), served()


def sample(*sizes: int, first: int = 0, of: object = SERVED) -> Sample:
    """Requests of so many rows; each row is two numbers, in and out: the rows are counted."""
    assert of in (SERVED, OTHER)
    ends = np.cumsum(sizes)
    rows = np.arange(first, first + ends[-1], dtype="f4")[:, None]
    return Sample(SERVED if of is SERVED else OTHER, "test", [rows], [rows], ends)


def test_what_is_taken_is_cut_between_requests() -> None:
    backlog = Backlog(100, 10_000)
    backlog.add(sample(2, 3, 4))
    first = backlog.take(5)
    assert (len(first), first.rows, backlog.rows) == (2, 5, 4)
    rest = backlog.take(5)
    assert rest.inputs[0].ravel().tolist() == [5, 6, 7, 8]
    assert list(rest.ends) == [4]
    assert not backlog


def test_a_request_larger_than_asked_for_still_goes() -> None:
    backlog = Backlog(100, 10_000)
    backlog.add(sample(9, 1))
    assert [backlog.take(4).rows, backlog.take(4).rows] == [9, 1]


def test_room_is_bounded_in_rows_and_in_bytes() -> None:
    backlog = Backlog(10, 10_000)
    assert backlog.fitting(np.array([4, 4, 4]), 8.0) == 2
    backlog.add(sample(8))
    assert backlog.fitting(np.array([1, 1, 1]), 8.0) == 2
    narrow = Backlog(1_000, 100)
    assert narrow.fitting(np.array([4, 4, 4]), 10.0) == 2
    narrow.add(sample(10))
    assert narrow.fitting(np.array([4]), 10.0) == 0


def test_what_is_not_wanted_any_more_goes() -> None:
    backlog = Backlog(100, 10_000)
    for of in (SERVED, OTHER, SERVED):
        backlog.add(sample(2, of=of))
    backlog.discard(lambda one: one.served is SERVED)
    assert backlog.first.served is OTHER
    assert (backlog.rows, backlog.size_bytes) == (2, 16)


@given(st.lists(st.lists(st.integers(1, 5), min_size=1), max_size=6), st.integers(1, 12))
def test_every_row_comes_out_once_in_order(batches: list[list[int]], rows: int) -> None:
    backlog, total = Backlog(10**6, 10**9), 0
    for sizes in batches:
        backlog.add(sample(*sizes, first=total))
        total += sum(sizes)
    found: list[float] = []
    while backlog:
        one = backlog.take(rows)
        assert one.rows <= rows or len(one) == 1
        found += one.inputs[0].ravel().tolist()
    assert found == list(range(total))
    assert (backlog.rows, backlog.size_bytes) == (0, 0)
