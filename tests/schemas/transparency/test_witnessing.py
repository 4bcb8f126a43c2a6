"""A witness's decisions: the specification's answers, and a log that tries everything."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency import checkpoints
from chimera.schemas.transparency.checkpoints import Checkpoint, log_key
from chimera.schemas.transparency.merkle import prove_consistency
from chimera.schemas.transparency.notes import Note
from chimera.schemas.transparency.witnessing import Refusal, Seen, Submission, decide, decode
from tests.schemas.transparency.logs import KEY, ORIGIN, OTHER_KEY, Log, make_log

COUNT = 24
LOG = make_log(COUNT)
FORK = Log([*LOG.bodies[:5], *[b"{}"] * (COUNT - 5)])
KEYS = [log_key(ORIGIN, KEY)]


def submission(old: int, new: int, log: Log = LOG) -> Submission:
    """With the proof that the log would give."""
    proof = prove_consistency(log.leaf_hashes[:new], old) if old <= new else []
    return Submission(old, tuple(proof), log.note(new), log.head(new))


def seen(size: int, log: Log = LOG) -> Seen:
    return Seen(size, log.head(size).root)


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 1), (0, 20), (1, 2), (7, 19), (8, 8)])
def test_checkpoint_that_extends_what_was_seen_is_cosigned(old: int, new: int) -> None:
    assert decide(submission(old, new), KEYS, seen(old)) is None


def refused(asked: Submission, at: Seen) -> tuple[int, int | None]:
    found = decide(asked, KEYS, at)
    assert isinstance(found, Refusal)
    return found.status, found.size


def test_log_that_is_not_known_is_not_found() -> None:
    found = decide(submission(0, 3), [], Seen())
    assert found is not None
    assert found.status == 404


def test_checkpoint_that_the_log_did_not_sign_is_forbidden() -> None:
    assert refused(submission(0, 3, Log(LOG.bodies, OTHER_KEY)), Seen()) == (403, None)
    good, other = submission(0, 3), LOG.note(4)
    spoilt = Note(good.note.text, (*good.note.signatures, *other.signatures))
    assert refused(Submission(0, (), spoilt, good.checkpoint), Seen()) == (403, None)


def test_old_size_past_the_new_is_a_bad_request() -> None:
    assert refused(submission(9, 8), seen(9)) == (400, None)


@pytest.mark.parametrize(("old", "stored"), [(0, 7), (3, 7), (8, 7), (8, 0)])
def test_old_size_that_is_not_what_was_seen_is_a_conflict(old: int, stored: int) -> None:
    assert refused(submission(old, 20), seen(stored)) == (409, stored)


def test_proof_that_does_not_hold_is_not_processed() -> None:
    good = submission(7, 20)
    for proof in ((), good.proof[:-1], (*good.proof, bytes(32)), good.proof[::-1]):
        asked = Submission(7, proof, good.note, good.checkpoint)
        assert refused(asked, seen(7)) == (422, None)


def test_proof_from_nothing_or_to_the_same_is_empty() -> None:
    for old in (0, 7):
        good = submission(old, 7)
        asked = Submission(old, (bytes(32),), good.note, good.checkpoint)
        assert refused(asked, seen(old)) == (422, None)


def test_fork_is_not_processed() -> None:
    assert refused(submission(7, 20, FORK), seen(7)) == (422, None)
    assert refused(submission(7, 7, FORK), seen(7)) == (422, None)


def test_empty_log_with_another_root_is_not_processed() -> None:
    head = Checkpoint(ORIGIN, 0, bytes(32))
    assert refused(Submission(0, (), checkpoints.sign(head, KEY), head), Seen()) == (422, None)


class Tries(RuleBasedStateMachine):
    """A log with two histories, which submits whatever it likes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.at = Seen()
        self.cosigned: list[tuple[int, Log]] = []

    @initialize()
    def begin(self) -> None:
        self.at, self.cosigned = Seen(), []

    @rule(
        old=st.integers(0, COUNT),
        new=st.integers(0, COUNT),
        is_fork=st.booleans(),
        is_current=st.booleans(),
        cut=st.integers(0, 2),
    )
    def submit(self, old: int, new: int, is_fork: bool, is_current: bool, cut: int) -> None:
        log = FORK if is_fork else LOG
        asked = submission(self.at.size if is_current else old, new, log)
        asked = Submission(asked.old, asked.proof[cut:], asked.note, asked.checkpoint)
        if decide(asked, KEYS, self.at) is None:
            self.at = Seen(new, asked.checkpoint.root)
            self.cosigned.append((new, log))

    @invariant()
    def is_one_history_that_only_grows(self) -> None:
        sizes = [size for size, _ in self.cosigned]
        assert sizes == sorted(sizes)
        assert any(
            all(log.head(size) == one.head(size) for size, one in self.cosigned)
            for log in (LOG, FORK)
        )


TestTries = Tries.TestCase
TestTries.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)


def test_request_is_read_as_it_was_written() -> None:
    for old, new in [(0, 0), (0, 5), (5, 20)]:
        asked = submission(old, new)
        assert decode(asked.encode()) == asked
    text = submission(5, 20).encode().decode().split("\n")
    assert text[0] == "old 5"
    assert text[len(submission(5, 20).proof) + 1] == ""


GOOD = submission(5, 20).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        GOOD[4:],
        GOOD.replace(b"old 5", b"old 05"),
        GOOD.replace(b"old 5", b"old -5"),
        GOOD.replace(b"old 5", b"old  5"),
        GOOD.replace(b"old 5\n", b"old 5\nAAAA\n"),
        GOOD.replace(b"old 5\n", b"old 5\r\n"),
        GOOD.replace(b"old 5\n", b"old 5\n" + (b"A" * 43 + b"=\n") * 64),
        GOOD[:-1],
        GOOD.partition(b"\n\n")[0],
        GOOD + b"x" * 300_000,
    ],
)
def test_what_is_no_request_is_refused(raw: bytes) -> None:
    with pytest.raises(EvidenceMalformed):
        decode(raw)


@given(st.data())
def test_request_after_an_accident_is_refused_or_decided(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(GOOD) - 1))
    wrong = GOOD[:at] + data.draw(st.binary(max_size=3)) + GOOD[at + data.draw(st.integers(0, 3)) :]
    try:
        asked = decode(wrong)
    except EvidenceMalformed:
        return
    keys = KEYS if asked.checkpoint.origin == ORIGIN else []
    found = decide(asked, keys, seen(5))
    assert found is not None or asked.checkpoint == LOG.head(20)
