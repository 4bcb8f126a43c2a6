"""Whom to believe: keys in their ranges, k of n witnesses, groups of groups."""

import pytest

from chimera.schemas.errors import EvidenceUntrusted
from chimera.schemas.transparency import checkpoints
from chimera.schemas.transparency.checkpoints import Checkpoint, log_key
from chimera.schemas.transparency.cosignatures import witness_key
from chimera.schemas.transparency.notes import Note
from chimera.schemas.transparency.policy import Group, LogKey, Policy
from tests.schemas.transparency.logs import (
    AT_S,
    KEY,
    ORIGIN,
    OTHER_KEY,
    WITNESSES,
    Log,
    make_log,
    make_policy,
)

LOG = make_log(10)
OLD, NEW = log_key(ORIGIN, KEY), log_key(ORIGIN, OTHER_KEY)


@pytest.mark.parametrize("needed", range(4))
@pytest.mark.parametrize("count", range(4))
def test_checkpoint_is_witnessed_by_k_of_n(needed: int, count: int) -> None:
    raw = LOG.checkpoint(4, *list(WITNESSES)[:count])
    opened = make_policy(needed).open(raw)
    assert opened.checkpoint == LOG.head(4)
    assert opened.cosigned_at_s == dict.fromkeys(list(WITNESSES)[:count], AT_S)
    assert opened.is_witnessed == (count >= needed)


def test_checkpoint_with_too_few_witnesses_is_not_opened_as_witnessed() -> None:
    policy = make_policy(2)
    assert policy.open_witnessed(LOG.checkpoint(4, "w1", "w3")).is_witnessed
    with pytest.raises(EvidenceUntrusted, match="cosigned by w3"):
        policy.open_witnessed(LOG.checkpoint(4, "w3"))


def test_one_witness_twice_is_one_witness() -> None:
    note = LOG.note(4, "w1")
    twice = Note(note.text, (*note.signatures, note.signatures[-1]))
    assert not make_policy(2).open(twice.encode()).is_witnessed


@pytest.mark.parametrize(
    ("by", "is_witnessed"), [(("w1", "w2"), True), (("w1", "w3"), True), (("w2", "w3"), False)]
)
def test_groups_of_groups_count_once_each(by: tuple[str, ...], is_witnessed: bool) -> None:
    policy = Policy(
        (LogKey(OLD),),
        {name: witness_key(name, key) for name, key in WITNESSES.items()},
        {"others": Group(1, ("w2", "w3")), "all": Group(2, ("w1", "others"))},
        "all",
    )
    assert policy.open(LOG.checkpoint(4, *by)).is_witnessed == is_witnessed


def rotated(size: int, *keys: int) -> bytes:
    pairs = (KEY, OTHER_KEY)
    signed = [checkpoints.sign(LOG.head(size), pairs[at]) for at in keys]
    return Note(signed[0].text, tuple(one.signatures[0] for one in signed)).encode()


ROTATION = Policy((LogKey(OLD, last_size=5), LogKey(NEW, first_size=5)))


def test_key_counts_in_its_range() -> None:
    assert ROTATION.open(rotated(4, 0)).key == OLD
    assert ROTATION.open(rotated(6, 1)).key == NEW
    assert ROTATION.open(rotated(5, 0, 1)).key == OLD
    assert ROTATION.open(rotated(6, 0, 1)).key == NEW
    for size, key in [(6, 0), (4, 1)]:
        with pytest.raises(EvidenceUntrusted, match=f"may not sign a tree of {size}"):
            ROTATION.open(rotated(size, key))


def test_one_key_may_have_two_ranges() -> None:
    policy = Policy((LogKey(OLD, 0, 3), LogKey(OLD, 8, 9)))
    assert policy.open(rotated(9, 0)).checkpoint.size == 9
    with pytest.raises(EvidenceUntrusted, match="may not sign"):
        policy.open(rotated(5, 0))


def test_checkpoint_of_another_log_or_key_is_refused() -> None:
    with pytest.raises(EvidenceUntrusted, match="'example.com/other'"):
        make_policy().open(
            checkpoints.sign(Checkpoint("example.com/other", 1, bytes(32)), KEY).encode()
        )
    with pytest.raises(EvidenceUntrusted, match="no trusted key"):
        make_policy().open(Log(LOG.bodies, OTHER_KEY).checkpoint(4))


def test_wrong_cosignature_of_a_known_witness_spoils_the_checkpoint() -> None:
    note, other = LOG.note(4, "w1", "w2"), LOG.note(5, "w3")
    spoilt = Note(note.text, (*note.signatures, other.signatures[-1]))
    with pytest.raises(EvidenceUntrusted, match="w3"):
        make_policy(2).open(spoilt.encode())


def test_empty_log_has_the_root_of_the_empty_tree() -> None:
    assert make_policy().open(LOG.checkpoint(0)).checkpoint.size == 0
    with pytest.raises(EvidenceUntrusted, match="size 0"):
        make_policy().open(checkpoints.sign(Checkpoint(ORIGIN, 0, bytes(32)), KEY).encode())


def test_size_is_that_of_the_largest_note_that_is_believed() -> None:
    strange = checkpoints.sign(Checkpoint(ORIGIN, 10**18, bytes(32)), OTHER_KEY).encode()
    notes = [b"rubbish", LOG.checkpoint(7), strange, LOG.checkpoint(4)]
    assert make_policy().size_of(notes) == 7
    assert make_policy().size_of([b"rubbish", strange]) is None
    assert make_policy().size_of([make_log(0).checkpoint(0)]) == 0
