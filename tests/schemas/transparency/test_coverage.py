"""Offsets with leaves and without, counted over any segments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from chimera.schemas.columns import numbers
from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.journal import SegmentHead
from chimera.schemas.transparency.coverage import Covered, decode_lanes, encode_lanes
from chimera.schemas.transparency.leaves import OffsetsReconciled


def cover(covered: Covered, start: int, end: int) -> Covered:
    """By a segment with a row for each offset."""
    head = SegmentHead(topic="r", partition=0, start=start, next=end, guarantee="at_least_once")
    return covered.with_segment(head).with_rows(numbers(range(start, end))).up_to(end)


def told(covered: Covered, committed: int) -> OffsetsReconciled:
    return covered.reconciled("r", 0, committed, at_ms=0, tenant="default")[0]


def test_segments_in_a_row_leave_nothing_out() -> None:
    leaf, anew = cover(cover(Covered(5, 5), 5, 9), 9, 12).reconciled(
        "r", 0, 12, at_ms=7, tenant="t"
    )
    assert (leaf.first_offset, leaf.end_offset) == ("5", "12")
    assert (leaf.committed, leaf.leaves, leaf.missing, leaf.repeated) == (7, 7, 0, 0)
    assert anew == Covered(12, 12)


def test_gap_overlap_and_what_no_segment_tells_of_are_counted() -> None:
    assert (told(cover(cover(Covered(0, 0), 0, 3), 5, 6), 6).missing) == 2
    again = told(cover(cover(Covered(0, 0), 0, 6), 4, 8), 8)
    assert (again.repeated, again.leaves, again.committed, again.missing) == (2, 10, 8, 0)
    behind = told(cover(Covered(0, 0), 0, 3), 10)
    assert (behind.missing, behind.committed, behind.end_offset) == (7, 10, "10")


def window(covered: Covered, start: int, end: int, rows: int, requests: int | UnsetType) -> Covered:
    """By a segment with so many rows, the first ones."""
    head = SegmentHead(
        topic="r", partition=0, start=start, next=end, guarantee="exactly_once", requests=requests
    )
    return covered.with_segment(head).with_rows(numbers(range(start, start + rows))).up_to(end)


def test_rows_that_a_window_lacks_are_missing() -> None:
    whole = window(Covered(0, 0), 0, 5, 5, 5)
    markers = window(whole, 5, 9, 2, 2)  # offsets without a request are none that lack
    assert told(markers, 9).missing == 0
    lacking = window(window(whole, 5, 9, 2, 4), 9, 12, 3, 3)
    assert (told(lacking, 12).missing, told(lacking, 12).committed) == (2, 12)
    assert told(window(whole, 5, 9, 0, 4), 9).missing == 4  # of the last window too
    assert lacking.reconciled("r", 0, 12, at_ms=0, tenant="t")[1] == Covered(12, 12)


def test_rows_beyond_a_windows_requests_are_told() -> None:
    more = window(window(Covered(0, 0), 0, 5, 5, 5), 5, 9, 4, 3)
    leaf = told(more, 9)
    assert (leaf.missing, leaf.repeated, leaf.leaves, leaf.committed) == (0, 1, 9, 8)


def test_window_of_several_segments_is_counted_as_one() -> None:
    first = window(Covered(0, 0), 0, 3, 3, 8)
    assert told(window(first, 3, 9, 5, 0), 9).missing == 0
    assert told(window(first, 3, 9, 4, 0), 9).missing == 1


def test_segments_of_a_release_that_counts_nothing_lack_nothing() -> None:
    old = window(Covered(0, 0), 0, 5, 2, UNSET)
    assert told(window(old, 5, 9, 1, UNSET), 9).missing == 0
    assert told(window(window(old, 5, 9, 1, 4), 9, 12, 1, UNSET), 12).missing == 3


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6)), max_size=8), st.integers(0, 40))
def test_counts_are_those_of_sets(segments: list[tuple[int, int]], committed: int) -> None:
    segments.sort()
    covered, seen, count = Covered(0, 0), set[int](), 0
    for start, size in segments:
        covered = cover(covered, start, start + size)
        seen |= set(range(start, start + size))
        count += size
    leaf = told(covered, committed)
    end = max([committed, *(start + size for start, size in segments)])
    assert (leaf.leaves, leaf.repeated) == (count, count - len(seen))
    assert leaf.missing == len(set(range(end)) - seen)
    assert leaf.committed == end


def test_lanes_there_and_back() -> None:
    lanes = {"r:0": Covered(1, 2, 3, 4, 5, 6), "a:7": Covered(0, 2**62)}
    assert decode_lanes(encode_lanes(lanes)) == lanes
    assert decode_lanes(b'{"r:0":[1,2,3,4,5]}') == {"r:0": Covered(1, 2, 3, 4, 5)}
    for wrong in (b"", b"[]", b'{"r:0":[1]}', b"\xff"):
        with pytest.raises(EvidenceMalformed):
            decode_lanes(wrong)
