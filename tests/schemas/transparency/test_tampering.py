"""Everything that can be done to rows: found, named, and where it begins."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.transparency import chain
from chimera.schemas.transparency.leaves import encode_leaf
from chimera.schemas.transparency.merkle import leaf_hash
from chimera.schemas.transparency.row import Row
from chimera.schemas.transparency.tampering import Kind
from tests.schemas.transparency.cases import COUNT, LOG, OTHER, Case, checkpoints_of
from tests.schemas.transparency.logs import make_log, served


def test_good_log_is_good() -> None:
    verdict = Case(held=checkpoints_of(LOG, (16, COUNT))).verdict()
    assert verdict.is_good
    assert (verdict.leaves, verdict.signed_size, verdict.witnessed_size) == (COUNT, COUNT, COUNT)
    assert verdict.root == LOG.head(COUNT).root
    assert verdict.unreadable == 0


def renumbered(rows: list[Row]) -> list[Row]:
    return [row._replace(log_index=index) for index, row in enumerate(rows)]


def body_changed(rows: list[Row], at: int) -> None:
    rows[at] = rows[at]._replace(body=OTHER)


def leaf_changed(rows: list[Row], at: int) -> None:
    rows[at] = rows[at]._replace(body=OTHER, leaf_hash=leaf_hash(OTHER))


def leaf_hash_changed(rows: list[Row], at: int) -> None:
    rows[at] = rows[at]._replace(leaf_hash=bytes(32))


def chain_hash_changed(rows: list[Row], at: int) -> None:
    rows[at] = rows[at]._replace(chain_hash=bytes(32))


def row_deleted(rows: list[Row], at: int) -> None:
    del rows[at]


def row_deleted_and_renumbered(rows: list[Row], at: int) -> None:
    del rows[at]
    rows[:] = renumbered(rows)


def rows_deleted_and_renumbered(rows: list[Row], at: int) -> None:
    del rows[at : at + 3]
    rows[:] = renumbered(rows)


def row_inserted(rows: list[Row], at: int) -> None:
    rows.insert(at, Row(at, OTHER, leaf_hash(OTHER), bytes(32)))
    rows[:] = renumbered(rows)


def row_inserted_with_its_chain(rows: list[Row], at: int) -> None:
    previous = rows[at - 1].chain_hash if at else chain.START
    leaf = leaf_hash(OTHER)
    rows.insert(at, Row(at, OTHER, leaf, chain.link(previous, leaf)))
    rows[:] = renumbered(rows)


def row_inserted_under_an_index_that_is_taken(rows: list[Row], at: int) -> None:
    previous = rows[at].chain_hash
    leaf = leaf_hash(OTHER)
    rows.insert(at + 1, Row(at, OTHER, leaf, chain.link(previous, leaf)))


def rows_inserted(rows: list[Row], at: int) -> None:
    forged = [encode_leaf(served(100 + number)) for number in range(3)]
    rows[at:at] = [Row(at, body, leaf_hash(body), bytes(32)) for body in forged]
    rows[:] = renumbered(rows)


def row_repeated(rows: list[Row], at: int) -> None:
    rows.insert(at, rows[at])


def batch_repeated(rows: list[Row], at: int) -> None:
    """An INSERT that was sent twice under two deduplication tokens."""
    rows[at : at + 4] = [*rows[at : at + 4], *rows[at : at + 4]]


def batch_dropped(rows: list[Row], at: int) -> None:
    """An INSERT under a deduplication token that was used before."""
    del rows[at : at + 4]


def neighbours_swapped(rows: list[Row], at: int) -> None:
    rows[at], rows[at + 1] = rows[at + 1], rows[at]


def neighbours_swapped_and_renumbered(rows: list[Row], at: int) -> None:
    neighbours_swapped(rows, at)
    rows[:] = renumbered(rows)


def distant_rows_swapped_and_renumbered(rows: list[Row], at: int) -> None:
    rows[at], rows[at + 5] = rows[at + 5], rows[at]
    rows[:] = renumbered(rows)


def bodies_swapped(rows: list[Row], at: int) -> None:
    one, other = rows[at], rows[at + 5]
    rows[at], rows[at + 5] = one._replace(body=other.body), other._replace(body=one.body)


def leaves_swapped_under_the_chain(rows: list[Row], at: int) -> None:
    bodies_swapped(rows, at)
    for one in (at, at + 5):
        rows[one] = rows[one]._replace(leaf_hash=leaf_hash(rows[one].body))


WAYS: list[tuple[Callable[[list[Row], int], None], Kind, int, int]] = [
    (body_changed, Kind.CHANGED, 0, 0),
    (leaf_changed, Kind.CHANGED, 0, 0),
    (leaf_hash_changed, Kind.CHANGED, 0, 0),
    (chain_hash_changed, Kind.CHANGED, 0, 0),
    (row_deleted, Kind.DELETED, 0, 0),
    (row_deleted_and_renumbered, Kind.DELETED, 0, 0),
    (rows_deleted_and_renumbered, Kind.DELETED, 0, 2),
    (row_inserted, Kind.INSERTED, 0, 0),
    (row_inserted_with_its_chain, Kind.INSERTED, 0, 0),
    (row_inserted_under_an_index_that_is_taken, Kind.INSERTED, 0, 0),
    (rows_inserted, Kind.INSERTED, 0, 2),
    (row_repeated, Kind.REPEATED, 0, 0),
    (batch_repeated, Kind.REPEATED, 0, 0),
    (batch_dropped, Kind.DELETED, 0, 3),
    (neighbours_swapped, Kind.SWAPPED, 0, 1),
    (neighbours_swapped_and_renumbered, Kind.SWAPPED, 0, 1),
    (distant_rows_swapped_and_renumbered, Kind.SWAPPED, 0, 5),
    (bodies_swapped, Kind.SWAPPED, 0, 5),
    (leaves_swapped_under_the_chain, Kind.SWAPPED, 0, 5),
]
"""A way, what it is, and its first and last leaf, counted from where it was done."""


@pytest.mark.parametrize("at", [0, 1, 6, 7, 20, 33])
@pytest.mark.parametrize(("way", "kind", "first", "last"), WAYS)
def test_what_was_done_to_rows_is_named(
    way: Callable[[list[Row], int], None], kind: Kind, first: int, last: int, at: int
) -> None:
    case = Case()
    way(case.rows, at)
    fault = case.fault()
    assert (fault.kind, fault.index, fault.last) == (kind, at + first, at + last)


def test_leaf_that_is_missing_is_one_fault() -> None:
    case = Case()
    row_deleted_and_renumbered(case.rows, 20)
    assert [fault.kind for fault in case.verdict().faults] == [Kind.DELETED]


@pytest.mark.parametrize(
    ("way", "told"),
    [
        (body_changed, "not those of its leaf hash"),
        (leaf_hash_changed, "its leaf hash alone"),
        (chain_hash_changed, "its chain hash alone"),
        (leaf_changed, "goes on behind it"),
    ],
)
def test_verdict_tells_which_column_was_changed(
    way: Callable[[list[Row], int], None], told: str
) -> None:
    case = Case()
    way(case.rows, 20)
    assert told in case.fault().told
    del case.rows[-2:]  # another fault does not hide it
    assert told in case.fault().told or way is leaf_changed


@given(st.data())
def test_no_byte_of_a_row_may_be_another(data: st.DataObject) -> None:
    case = Case()
    at = data.draw(st.integers(0, COUNT - 1))
    column = data.draw(st.sampled_from(["body", "leaf_hash", "chain_hash"]))
    raw = getattr(case.rows[at], column)
    byte = data.draw(st.integers(0, len(raw) - 1))
    flipped = raw[:byte] + bytes([raw[byte] ^ data.draw(st.integers(1, 255))]) + raw[byte + 1 :]
    case.rows[at] = case.rows[at]._replace(**{column: flipped})
    assert (case.fault().kind, case.fault().index) == (Kind.CHANGED, at)


@given(st.permutations(range(12)), st.integers(0, 12))
def test_rows_in_any_other_order_or_number_are_noticed_at_the_first(
    order: list[int], kept: int
) -> None:
    log = make_log(12)
    rows = [log.rows()[at] for at in order[:kept]]
    verdict = Case(rows, checkpoints_of(log, (12,))).verdict()
    first = next((at for at, one in enumerate([*order[:kept], -1]) if one != at))
    assert verdict.is_good == (order == sorted(order) and kept == 12)
    if not verdict.is_good:
        assert verdict.faults[0].index <= first
