"""Histories that are rewritten, cut, forked or signed by somebody else: found, and from which leaf on.

The rows agree with one another in all of these; what tells are checkpoints, and who signed them.
"""

from dataclasses import replace

import pytest

from chimera.schemas.transparency import checkpoints
from chimera.schemas.transparency.notes import Note
from chimera.schemas.transparency.policy import LogKey, Policy
from chimera.schemas.transparency.row import Row
from chimera.schemas.transparency.tampering import Fault, Kind
from chimera.schemas.transparency.verification import verify
from tests.schemas.transparency.cases import (
    COUNT,
    LOG,
    OTHER,
    POLICY,
    SIZES,
    Case,
    checkpoints_of,
)
from tests.schemas.transparency.logs import AT_S, KEY, ORIGIN, OTHER_KEY, Log, make_log, make_policy


def rewritten(bodies: list[bytes]) -> list[Row]:
    """With every hash as it should be."""
    return Log(bodies).rows()


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


def test_log_that_is_cut_with_its_checkpoints_is_stale() -> None:
    """A witness cosigns nothing shorter than what it saw: the cut log has old times alone."""
    notes = [LOG.checkpoint(size, "w1", "w3", at_s=AT_S + size) for size in SIZES]
    case = Case(published=notes, since_s=AT_S + COUNT)
    assert (case.verdict().is_good, case.verdict().witnessed_at_s) == (True, AT_S + COUNT)
    cut = Case(LOG.rows()[:16], notes[:3], since_s=AT_S + COUNT)
    fault = cut.fault()
    assert (fault.kind, fault.index, cut.verdict().witnessed_at_s) == (Kind.STALE, 16, AT_S + 16)
    assert "last saw it at 2025-11-21 09:30:32 UTC" in fault.told


def test_idle_log_that_is_cosigned_again_is_not_stale() -> None:
    again = LOG.checkpoint(COUNT, "w1", "w3", at_s=AT_S + 100)
    case = Case(published=[*checkpoints_of(LOG), again], since_s=AT_S + 100)
    assert case.verdict().is_good


def test_one_witness_of_the_quorum_makes_no_log_fresh() -> None:
    note = LOG.note(COUNT, "w1", at_s=AT_S + 50)
    later = LOG.note(COUNT, "w3", at_s=AT_S + 99).signatures[1:]
    both = Note(note.text, (*note.signatures, *later)).encode()
    case = Case(published=[*checkpoints_of(LOG, SIZES[:-1]), both], since_s=AT_S + 99)
    assert (case.fault().kind, case.verdict().witnessed_at_s) == (Kind.STALE, AT_S + 50)


def test_log_that_no_quorum_saw_is_stale_too() -> None:
    kinds = [
        fault.kind for fault in Case(published=[LOG.checkpoint(COUNT)], since_s=1).verdict().faults
    ]
    assert kinds == [Kind.UNWITNESSED, Kind.STALE]


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
