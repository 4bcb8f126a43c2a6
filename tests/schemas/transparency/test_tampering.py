"""Everything that can be done to a log: found, named, and where it begins.

Each way to tamper alters a good log of 40 leaves as its operator could, with the log's own key
where that is what it takes. The policy wants two of three witnesses.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.transparency import chain, checkpoints
from chimera.schemas.transparency.leaves import encode_leaf
from chimera.schemas.transparency.merkle import leaf_hash
from chimera.schemas.transparency.policy import LogKey, Policy
from chimera.schemas.transparency.row import Row
from chimera.schemas.transparency.tampering import Fault, Kind
from chimera.schemas.transparency.verification import Verdict, verify
from tests.schemas.transparency.logs import (
    KEY,
    ORIGIN,
    OTHER_KEY,
    Log,
    make_log,
    make_policy,
    served,
)

COUNT = 40
SIZES = (0, 7, 16, 32, COUNT)
LOG = make_log(COUNT)
POLICY = make_policy(2)
OTHER = encode_leaf(served(99, outcome="model_error"))


def checkpoints_of(log: Log, sizes: tuple[int, ...] = SIZES) -> list[bytes]:
    return [log.checkpoint(size, "w1", "w3") for size in sizes]


@dataclass
class Case:
    """What the auditor gets."""

    rows: list[Row] = field(default_factory=LOG.rows)
    published: list[bytes] = field(default_factory=lambda: checkpoints_of(LOG))
    held: list[bytes] = field(default_factory=list[bytes])

    def verdict(self) -> Verdict:
        return verify(iter(self.rows), self.published, POLICY, self.held)

    def fault(self) -> Fault:
        """The first."""
        return self.verdict().faults[0]


def test_good_log_is_good() -> None:
    verdict = Case(held=checkpoints_of(LOG, (16, COUNT))).verdict()
    assert verdict.is_good
    assert (verdict.leaves, verdict.signed_size, verdict.witnessed_size) == (COUNT, COUNT, COUNT)
    assert verdict.root == LOG.head(COUNT).root
    assert verdict.unreadable == 0


def renumbered(rows: list[Row]) -> list[Row]:
    return [row._replace(log_index=index) for index, row in enumerate(rows)]


def rewritten(bodies: list[bytes]) -> list[Row]:
    """With every hash as it should be."""
    return Log(bodies).rows()


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


@pytest.mark.parametrize("at", [0, 6, 7, 20, COUNT - 1])
@pytest.mark.parametrize("way", ["change", "delete", "insert"])
def test_history_that_is_rewritten_with_its_chain_is_found_between_two_checkpoints(
    way: str, at: int
) -> None:
    bodies = list(LOG.bodies)
    match way:
        case "change":
            bodies[at] = OTHER
        case "delete":
            bodies[at : at + 1] = []
            bodies.append(OTHER)
        case _:
            bodies[at:at] = [OTHER]
            bodies.pop()
    low = max(size for size in SIZES if size <= at)
    high = min(size for size in SIZES if size > at)
    fault = Case(rewritten(bodies)).fault()
    assert (fault.kind, fault.index, fault.last) == (Kind.REWRITTEN, low, high - 1)


@pytest.mark.parametrize("kept", [0, 1, 32, 39])
def test_cut_tail_is_found(kept: int) -> None:
    fault = Case(LOG.rows()[:kept]).fault()
    assert (fault.kind, fault.index, fault.last) == (Kind.CUT, kept, COUNT - 1)


def test_cut_tail_behind_a_gap_is_found_too() -> None:
    rows = LOG.rows()[:38]
    del rows[20]
    faults = Case(rows).verdict().faults
    assert [(fault.kind, fault.index) for fault in faults] == [(Kind.DELETED, 20), (Kind.CUT, 38)]


def test_log_that_is_cut_with_its_checkpoints_is_found_by_what_the_auditor_holds() -> None:
    case = Case(LOG.rows()[:16], checkpoints_of(LOG, (7, 16)))
    assert case.verdict().is_good  # by itself it is what it was
    case.held = [LOG.checkpoint(32)]
    fault = case.fault()
    assert (fault.kind, fault.index, fault.last) == (Kind.ROLLED_BACK, 16, 31)


def test_checkpoints_that_go_back_are_found() -> None:
    case = Case(published=checkpoints_of(LOG, (7, 32, 16, COUNT)))
    assert (case.fault().kind, case.fault().index) == (Kind.ROLLED_BACK, 16)


def resigned(at: int = 20) -> tuple[Log, list[bytes]]:
    """All of history from a leaf on, with the log's own key; no witness cosigns it."""
    other = Log([*LOG.bodies[:at], OTHER, *LOG.bodies[at + 1 :]])
    notes = [(other if size > at else LOG).checkpoint(size) for size in SIZES]
    return other, [
        raw if size > at else checkpoints_of(LOG, (size,))[0]
        for size, raw in zip(SIZES, notes, strict=True)
    ]


def test_history_that_is_rewritten_and_signed_again_is_found_by_the_quorum() -> None:
    other, published = resigned()
    fault = Case(other.rows(), published).fault()
    assert (fault.kind, fault.index, fault.last) == (Kind.UNWITNESSED, 16, COUNT - 1)


def test_history_that_is_rewritten_and_signed_again_is_found_by_what_a_witness_holds() -> None:
    other, published = resigned()
    case = Case(other.rows(), published, [LOG.checkpoint(32, "w1", "w3")])
    kinds = [(fault.kind, fault.index) for fault in case.verdict().faults]
    assert (Kind.FORKED, 16) in kinds
    assert kinds[0][1] == 16


def test_history_that_is_rewritten_and_signed_again_passes_without_witnesses() -> None:
    """What a log that nobody watches cannot show; this is why there are witnesses."""
    other, published = resigned()
    assert verify(other.rows(), published, make_policy()).is_good


def test_later_checkpoint_of_another_history_is_a_fork() -> None:
    other, _ = resigned()
    case = Case(other.rows(), [*checkpoints_of(LOG, (7, 16, 32)), *checkpoints_of(other, (COUNT,))])
    fault = case.fault()
    assert (fault.kind, fault.index, fault.last) == (Kind.FORKED, 16, 31)


@pytest.mark.parametrize("size", [32, COUNT, COUNT + 5])
def test_two_roots_of_one_size_are_a_fork(size: int) -> None:
    one, other = make_log(size), Log([*make_log(size).bodies[:20], OTHER, *[b"{}"] * (size - 21)])
    case = Case(
        make_log(size).rows(), [*checkpoints_of(one, (16, size)), *checkpoints_of(other, (size,))]
    )
    fault = case.fault()
    assert (fault.kind, fault.index, fault.last) == (Kind.FORKED, 16, size - 1)


def test_two_roots_of_a_size_that_the_rows_do_not_reach_are_a_fork() -> None:
    other = Log([*LOG.bodies[:39], OTHER])
    published = [*checkpoints_of(LOG, (16, COUNT)), *checkpoints_of(other, (COUNT,))]
    faults = Case(LOG.rows()[:30], published).verdict().faults
    assert {(fault.kind, fault.index) for fault in faults} == {(Kind.FORKED, 16), (Kind.CUT, 30)}


def rotated(*sizes: int) -> list[bytes]:
    """By the old key up to 16 leaves, by the new one from there on."""
    new = Log(LOG.bodies, OTHER_KEY)
    return [(LOG if size <= 16 else new).checkpoint(size) for size in sizes]


ROTATED = Policy(
    (
        LogKey(checkpoints.log_key(ORIGIN, KEY), last_size=16),
        LogKey(checkpoints.log_key(ORIGIN, OTHER_KEY), first_size=16),
    )
)


def test_log_whose_key_was_replaced_is_good() -> None:
    assert verify(LOG.rows(), rotated(*SIZES), ROTATED).is_good


def test_history_that_is_signed_again_with_the_key_of_before_is_forged() -> None:
    fault = verify(LOG.rows(), [*rotated(7, 16), LOG.checkpoint(COUNT)], ROTATED).faults[0]
    assert (fault.kind, fault.index) == (Kind.FORGED, 16)
    assert "may not sign a tree of 40" in fault.told


def test_checkpoint_of_a_stranger_is_forged() -> None:
    stranger = Log(LOG.bodies, OTHER_KEY)
    case = Case(
        published=[
            *checkpoints_of(LOG, (16,)),
            stranger.checkpoint(32),
            LOG.checkpoint(COUNT, "w1", "w2"),
        ]
    )
    assert (case.fault().kind, case.fault().index) == (Kind.FORGED, 16)


def test_checkpoint_of_another_log_of_the_policy_is_forged() -> None:
    log = LogKey(checkpoints.log_key("example.com/other", OTHER_KEY))
    other = checkpoints.sign(replace(LOG.head(32), origin="example.com/other"), OTHER_KEY)
    policy = replace(make_policy(), logs=(*POLICY.logs, log))
    faults = verify(LOG.rows(), [*checkpoints_of(LOG), other.encode()], policy).faults
    assert [fault.kind for fault in faults] == [Kind.FORGED]
    assert "example.com/other" in faults[0].told


@pytest.mark.parametrize("raw", [b"", b"o\n1\n", LOG.checkpoint(32)[:-2] + b"A\n"])
def test_checkpoint_that_is_none_is_forged(raw: bytes) -> None:
    assert Case(published=[*checkpoints_of(LOG), raw]).fault().kind == Kind.FORGED


def test_rows_behind_the_last_checkpoint_are_unsigned() -> None:
    fault = Case(published=checkpoints_of(LOG, (7, 32))).fault()
    assert (fault.kind, fault.index, fault.last) == (Kind.UNSIGNED, 32, COUNT - 1)


@pytest.mark.parametrize("count", [0, 3])
def test_log_without_a_checkpoint_is_unsigned(count: int) -> None:
    kinds = [fault.kind for fault in Case(LOG.rows()[:count], []).verdict().faults]
    assert Kind.UNSIGNED in kinds


def test_empty_log_with_its_checkpoint_is_good() -> None:
    assert Case([], checkpoints_of(LOG, (0,))).verdict().is_good


@pytest.mark.parametrize("by", [(), ("w1",), ("w2",)])
def test_last_checkpoint_with_too_few_witnesses_is_named(by: tuple[str, ...]) -> None:
    case = Case(published=[*checkpoints_of(LOG, (16, 32)), LOG.checkpoint(COUNT, *by)])
    fault = case.fault()
    assert (fault.kind, fault.index, fault.last) == (Kind.UNWITNESSED, 32, COUNT - 1)
    assert case.verdict().witnessed_size == 32


def test_held_cosignatures_count_for_a_checkpoint_that_was_published_without() -> None:
    case = Case(published=[LOG.checkpoint(COUNT)], held=[LOG.checkpoint(COUNT, "w1", "w2")])
    assert case.verdict().is_good


def test_fault_tells_kind_and_place() -> None:
    assert str(Fault(Kind.ROLLED_BACK, 3, 3, "why")) == "leaf 3: rolled back: why"
    assert str(replace(Fault(Kind.CUT, 3, 9, "why"))) == "leaves 3 to 9: cut: why"
