"""A witness: it remembers one checkpoint of each log, and cosigns what extends it.

C2SP tlog-witness, add-checkpoint. What it saw last is read, judged by `schemas` and replaced in one
SQLite transaction that no other process comes between, and is on the disk before the cosignature
leaves: whatever happens, it never cosigns two histories, and none backwards. It blocks: give it a
thread. `tests/stores/test_witness.py` plays two submitters and a death in between.
"""

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from chimera.schemas.errors import ConfigurationError, EvidenceMalformed
from chimera.schemas.signing import SigningKey
from chimera.schemas.transparency import witnessing
from chimera.schemas.transparency.cosignatures import cosign, witness_key
from chimera.schemas.transparency.notes import Note
from chimera.schemas.transparency.verifier_keys import Algorithm, VerifierKey
from chimera.schemas.transparency.witnessing import Refusal, Seen, Submission, decide

_BUSY_S = 10.0  # how long another process may hold the database
_TABLE = """CREATE TABLE IF NOT EXISTS heads (
    origin_hash TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL
) STRICT, WITHOUT ROWID"""


@dataclass(frozen=True, slots=True)
class Cosigned:
    """What the submitter gets: the witness's line."""

    line: str


class Witness:
    """One name, one key, the logs that it knows. Use it with `with`."""

    def __init__(
        self,
        name: str,
        key: SigningKey,
        logs: Iterable[VerifierKey],
        database: Path,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Raises ConfigurationError: a log's key is a witness's, or the database cannot be opened."""
        self.public = witness_key(name, key)
        self._name, self._key, self._now_s = name, key, now_s
        self._logs: dict[str, list[VerifierKey]] = {}
        for log in logs:
            if log.algorithm != Algorithm.NOTE:
                raise ConfigurationError(f"CHIMERA_WITNESS__LOGS: {log.name} is no key of a log")
            self._logs.setdefault(log.name, []).append(log)
        self._lock = threading.Lock()
        self._connection = _connect(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def submit(self, raw: bytes) -> Cosigned | Refusal:
        """Judge a request's body, and cosign its checkpoint if it extends what was seen.

        Raises:
            sqlite3.Error: nothing was cosigned, and what was seen is as it was.
        """
        try:
            submission = witnessing.decode(raw)
        except EvidenceMalformed as error:
            return Refusal(witnessing.BAD_REQUEST, str(error))
        keys = self._logs.get(submission.checkpoint.origin, [])
        origin_hash = hash_of(submission.checkpoint.origin)
        with self._transaction():
            refusal = decide(submission, keys, self._seen(origin_hash))
            if refusal is not None:
                return refusal
            line, note = self._cosign(submission, keys)
            head = submission.checkpoint
            self._connection.execute(
                "INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?)",
                (origin_hash, head.size, head.root, note.encode()),
            )
        return Cosigned(line)

    def latest(self, origin_hash: str) -> bytes | None:
        """The checkpoint that was cosigned last, with the cosignature, for who monitors a log."""
        with self._lock:
            query = "SELECT note FROM heads WHERE origin_hash = ?"
            found = self._connection.execute(query, (origin_hash,)).fetchone()
        return None if found is None else bytes(found[0])

    def _cosign(self, submission: Submission, keys: list[VerifierKey]) -> tuple[str, Note]:
        text = submission.note.text
        line = cosign(text, self._name, self._key, at_s=max(1, int(self._now_s())))
        of_log = [one for one in submission.note.signatures if any(key.is_of(one) for key in keys)]
        return line.line, Note(text, (*of_log, line))

    def _seen(self, origin_hash: str) -> Seen:
        query = "SELECT size, root FROM heads WHERE origin_hash = ?"
        found = self._connection.execute(query, (origin_hash,)).fetchone()
        return Seen() if found is None else Seen(found[0], bytes(found[1]))

    @contextmanager
    def _transaction(self) -> Generator[None]:
        """Alone among threads and processes from the first read on; on the disk at its end."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")


def hash_of(origin: str) -> str:
    """What a log is called in a witness's URLs."""
    return hashlib.sha256(origin.encode()).hexdigest()


def _connect(database: Path) -> sqlite3.Connection:
    path = database.expanduser()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(
            path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
    except (sqlite3.Error, OSError) as error:
        raise ConfigurationError(f"CHIMERA_WITNESS__DATABASE: {path}: {error}") from None
    try:
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute(_TABLE)
    except sqlite3.Error as error:
        connection.close()
        raise ConfigurationError(f"CHIMERA_WITNESS__DATABASE: {path}: {error}") from None
    return connection
