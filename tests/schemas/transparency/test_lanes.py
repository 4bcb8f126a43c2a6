"""Requests that never became a leaf: named at the reconciliation that tells of them, or was made up."""

from typing import Any

import pytest
from msgspec import UNSET, UnsetType

from chimera.schemas.columns import numbers
from chimera.schemas.journal import SegmentHead
from chimera.schemas.transparency.coverage import Covered
from chimera.schemas.transparency.leaves import OffsetsReconciled, encode_leaf
from chimera.schemas.transparency.tampering import Fault, Kind
from chimera.schemas.transparency.verification import Verdict, verify
from tests.schemas.transparency.logs import Log, make_policy, served


class Told:
    """A log as a sequencer writes it: segments of one lane, and what was committed in between."""

    def __init__(self, guarantee: Any = "exactly_once", begin: int = 0) -> None:
        self.bodies: list[bytes] = []
        self._guarantee = guarantee
        self._covered = Covered(begin, begin)

    def segment(self, start: int, end: int, requests: int | UnsetType = UNSET) -> "Told":
        """`requests`: of the window, if its node has counted them."""
        head = SegmentHead(
            topic="inference.requests",
            partition=0,
            start=start,
            next=end,
            guarantee=self._guarantee,
            requests=requests,
        )
        rows = numbers(range(start, end))
        self._covered = self._covered.with_segment(head).with_rows(rows).up_to(end)
        leaves = (served(at, guarantee=self._guarantee) for at in range(start, end))
        self.bodies += map(encode_leaf, leaves)
        return self

    def reconciled(self, committed: int, **changed: Any) -> "Told":
        leaf, self._covered = self._covered.reconciled(
            "inference.requests", 0, committed, at_ms=1, tenant="default"
        )
        fields = {name: getattr(leaf, name) for name in leaf.__struct_fields__}
        self.bodies.append(encode_leaf(OffsetsReconciled(**fields | changed)))
        return self

    def verdict(self) -> Verdict:
        log = Log(self.bodies)
        return verify(log.rows(), [log.checkpoint(len(self.bodies))], make_policy())

    def omitted(self) -> tuple[int, str]:
        """The only fault."""
        (fault,) = self.verdict().faults
        assert fault == Fault(Kind.OMITTED, fault.index, fault.index, fault.told)
        return fault.index, fault.told


def test_request_whose_row_a_node_left_out_is_omitted() -> None:
    told = Told().segment(0, 3, 3).segment(3, 6, 5).reconciled(6)
    assert told.omitted() == (
        6,
        "2 requests of inference.requests-0 have no leaf, between the offsets 0 and 6",
    )


def test_lane_that_is_not_counted_from_its_beginning_is_told() -> None:
    assert Told().segment(0, 3).reconciled(3).verdict().begins == ()
    late = Told(begin=7).segment(7, 9).reconciled(9).segment(9, 10).reconciled(10).verdict()
    assert late.is_good
    assert late.begins == (("inference.requests", 0, 7),)


def test_log_whose_counts_agree_is_good() -> None:
    told = Told().segment(0, 3).reconciled(3).segment(3, 5).segment(5, 6).reconciled(6)
    assert told.reconciled(6).segment(6, 9).verdict().is_good


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_requests_without_a_leaf_are_named_where_they_are_counted(guarantee: str) -> None:
    behind = Told(guarantee).segment(0, 3).reconciled(3).segment(3, 5).reconciled(9)
    expected = "4 requests of inference.requests-0 have no leaf, between the offsets 3 and 9"
    assert behind.omitted() == (6, expected)
    between = Told(guarantee).segment(0, 3).segment(5, 7).reconciled(7).segment(7, 9)
    assert between.omitted()[0] == 5
    assert [one.index for one in between.verdict().unreconciled] == [5]


def test_leaf_that_is_there_twice_is_told_and_no_fault() -> None:
    verdict = Told("at_least_once").segment(0, 5).segment(3, 7).reconciled(7).verdict()
    assert verdict.is_good
    assert [(one.missing, one.repeated) for one in verdict.unreconciled] == [(0, 2)]
    assert [(span.repeats, span.first_repeat) for span in verdict.spans] == [(2, 5)]


def test_reconciliations_that_do_not_adjoin_are_named() -> None:
    for first in ("2", "4"):
        told = Told().segment(0, 3).reconciled(3).segment(3, 5).reconciled(5, first_offset=first)
        expected = (
            f"reconciliation of inference.requests-0 begins at offset {first},"
            " and leaf 3 ended at 3"
        )
        assert told.omitted() == (6, expected)


def test_reconciliation_that_counts_leaves_which_are_not_there_is_named() -> None:
    """As of somebody who leaves one out, and says so nowhere."""
    told = Told().segment(0, 3).segment(3, 5)
    del told.bodies[1]
    assert told.reconciled(5).omitted() == (
        4,
        "reconciliation of inference.requests-0 counted 5 leaves, and 4 are there",
    )


def test_behind_a_row_that_was_taken_out_only_what_a_leaf_says_itself_counts() -> None:
    log = Log(Told().segment(0, 5).reconciled(5).segment(5, 7).reconciled(9).bodies)
    rows = log.rows()
    del rows[2]
    faults = verify(rows, [log.checkpoint(len(rows) + 1)], make_policy()).faults
    assert [(one.kind, one.index) for one in faults] == [(Kind.DELETED, 2), (Kind.OMITTED, 8)]
