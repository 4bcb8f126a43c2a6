"""A witness and its database: what it remembers, two submitters at once, a death in between."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.transparency import checkpoints, notes, witnessing
from chimera.schemas.transparency.checkpoints import log_key
from chimera.schemas.transparency.cosignatures import cosigned_at, witness_key
from chimera.schemas.transparency.merkle import prove_consistency
from chimera.schemas.transparency.notes import Note, decode_signatures
from chimera.schemas.transparency.verifier_keys import VerifierKey
from chimera.schemas.transparency.witnessing import Refusal, Seen, Submission
from chimera.stores.witness import Cosigned, Witness, hash_of
from tests.schemas.transparency.logs import (
    AT_S,
    KEY,
    ORIGIN,
    OTHER_KEY,
    WITNESSES,
    Log,
    make_log,
)

LOG = make_log(40)
FORK = Log([*LOG.bodies[:3], *[b"{}"] * 37])
W1 = witness_key("w1", WITNESSES["w1"])


def witness(folder: Path) -> Witness:
    logs = [log_key(ORIGIN, KEY)]
    return Witness("w1", WITNESSES["w1"], logs, folder / "w.sqlite", lambda: AT_S + 0.5)


def ask(old: int, new: int, log: Log = LOG) -> bytes:
    proof = prove_consistency(log.leaf_hashes[:new], old)
    return Submission(old, tuple(proof), log.note(new), log.head(new)).encode()


def status(answer: Cosigned | Refusal) -> int:
    return answer.status if isinstance(answer, Refusal) else 200


def test_cosignature_is_of_the_checkpoint_and_the_time(tmp_path: Path) -> None:
    with witness(tmp_path) as one:
        answer = one.submit(ask(0, 7))
        assert isinstance(answer, Cosigned)
        note = Note(LOG.head(7).text, decode_signatures(answer.line))
        assert cosigned_at(note, W1) == AT_S
        assert one.public == W1


def test_what_was_seen_outlives_the_process(tmp_path: Path) -> None:
    with witness(tmp_path) as one:
        assert status(one.submit(ask(0, 7))) == 200
    with witness(tmp_path) as again:
        conflict = again.submit(ask(0, 9))
        assert isinstance(conflict, Refusal)
        assert (conflict.status, conflict.size) == (409, 7)
        assert status(again.submit(ask(7, 9, FORK))) == 422
        assert status(again.submit(ask(7, 9))) == 200


def test_latest_checkpoint_has_the_logs_signature_and_the_witnesss_alone(tmp_path: Path) -> None:
    with witness(tmp_path) as one:
        assert one.latest(hash_of(ORIGIN)) is None
        note = LOG.note(7, "w2")
        assert status(one.submit(Submission(0, (), note, LOG.head(7)).encode())) == 200
        found = notes.decode(one.latest(hash_of(ORIGIN)) or b"")
        assert [line.name for line in found.signatures] == [ORIGIN, "w1"]
        assert checkpoints.signers_of(found, [log_key(ORIGIN, KEY)])
        assert cosigned_at(found, W1) == AT_S


def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    with witness(tmp_path) as one:
        assert status(one.submit(ask(0, 7))) == 200
        before = one.latest(hash_of(ORIGIN))
        stranger = Log(LOG.bodies, OTHER_KEY)
        answers = [b"no request", ask(7, 9, stranger), ask(0, 9), ask(7, 9, FORK)]
        assert [status(one.submit(raw)) for raw in answers] == [400, 403, 409, 422]
        assert one.latest(hash_of(ORIGIN)) == before


def test_of_many_that_submit_at_once_one_is_cosigned(tmp_path: Path) -> None:
    """From two witnesses on one database, as two processes would be."""
    with witness(tmp_path) as one, witness(tmp_path) as other, ThreadPoolExecutor(8) as pool:
        asked = [(at % 2, ask(0, 5 + at)) for at in range(16)]
        pending = [pool.submit((one, other)[which].submit, raw) for which, raw in asked]
        answers = [status(one.result()) for one in pending]
        assert sorted(answers) == [200] + [409] * 15
        size = 5 + answers.index(200)
        assert one.latest(hash_of(ORIGIN)) == other.latest(hash_of(ORIGIN))
        assert f"\n{size}\n".encode() in (one.latest(hash_of(ORIGIN)) or b"")


def test_nobody_else_may_write_while_a_checkpoint_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []

    def decide(submission: Submission, keys: list[VerifierKey], seen: Seen) -> Refusal | None:
        other = sqlite3.connect(tmp_path / "w.sqlite", timeout=0, isolation_level=None)
        with closing(other), pytest.raises(sqlite3.OperationalError, match="locked") as caught:
            other.execute("BEGIN IMMEDIATE")
        judged.append(str(caught.value))
        return witnessing.decide(submission, keys, seen)

    monkeypatch.setattr("chimera.stores.witness.decide", decide)
    with witness(tmp_path) as one:
        assert status(one.submit(ask(0, 7))) == 200
    assert len(judged) == 1


def test_nothing_is_cosigned_that_cannot_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with witness(tmp_path) as one:
        assert status(one.submit(ask(0, 7))) == 200
        other = sqlite3.connect(tmp_path / "w.sqlite", isolation_level=None)
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON heads BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        with pytest.raises(sqlite3.Error, match="full"):
            one.submit(ask(7, 9))
        other.execute("DROP TRIGGER full")
        other.close()
        assert status(one.submit(ask(7, 8))) == 200


def test_key_of_a_witness_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="w1 is no key of a log"):
        Witness("w", KEY, [W1], tmp_path / "w.sqlite")


def test_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "w.sqlite").write_bytes(b"no database, certainly not one of SQLite" * 9)
    with pytest.raises(ConfigurationError, match=r"w\.sqlite"):
        witness(tmp_path)
