"""What was promised and what was seen, in SQLite, outside of the system under test.

    requests   acknowledged by the broker: coordinates, what may come back, a digest of all bytes
    withdrawn  coordinates that must never be answered: records of aborted transactions
    removed    coordinates that retention took, and whether they were answered before
    samples    the group's committed offsets, each with the moment by which it was read
    faults     what was done to the system, and when
    versions, commands, settled    what may be deployed, what was wanted, and when all served the last
    present, results, letters, retries, served, live, answers   what the final read found (`observe`,
                                                                `observe_models`)
    orders, told, jobs, weights    of training: runs that were ordered, events, rows of the registry, and
                                   the SHA-256 of a run's weights wherever they are named

One connection, used under a lock; writers are few and write in bulk.
"""

import hashlib
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

_TABLES = """
CREATE TABLE requests (topic TEXT, partition INT, offset INT, kind TEXT, expected TEXT, answer REAL,
  key BLOB, ordered INT, digest BLOB, acked_ms INT, PRIMARY KEY (topic, partition, offset)) WITHOUT ROWID;
CREATE TABLE withdrawn (topic TEXT, partition INT, offset INT,
  PRIMARY KEY (topic, partition, offset)) WITHOUT ROWID;
CREATE TABLE removed (topic TEXT, partition INT, offset INT, answered INT,
  PRIMARY KEY (topic, partition, offset)) WITHOUT ROWID;
CREATE TABLE samples (topic TEXT, partition INT, committed INT, by_ms INT);
CREATE TABLE faults (ms INT, name TEXT, detail TEXT);
CREATE TABLE present (topic TEXT, partition INT, offset INT, appended_ms INT,
  PRIMARY KEY (topic, partition, offset)) WITHOUT ROWID;
CREATE TABLE results (topic TEXT, partition INT, offset INT, code TEXT, answer REAL, key BLOB,
  at_partition INT, at_offset INT, appended_ms INT);
CREATE TABLE letters (topic TEXT, partition INT, offset INT, code TEXT, digest BLOB);
CREATE TABLE retries (topic TEXT, partition INT, offset INT, at_topic TEXT, appended_ms INT);
CREATE TABLE versions (version TEXT, digest TEXT);
CREATE TABLE commands (command_id TEXT PRIMARY KEY, action TEXT, sent_ms INT);
CREATE TABLE settled (ms INT, digest TEXT);
CREATE TABLE served (topic TEXT, partition INT, offset INT, digests INT, digest TEXT, version TEXT,
  appended_ms INT);
CREATE TABLE live (revision INT, digest TEXT, from_ms INT, until_ms INT);
CREATE TABLE answers (command_id TEXT, outcome TEXT, error TEXT);
CREATE TABLE orders (run_id TEXT PRIMARY KEY, config TEXT);
CREATE TABLE told (at INT PRIMARY KEY, run_id TEXT, event TEXT, attempt INT);
CREATE TABLE jobs (run_id TEXT, state TEXT, stage TEXT);
CREATE TABLE weights (run_id TEXT, place TEXT, sha256 TEXT);
CREATE INDEX results_by_request ON results (topic, partition, offset);
CREATE INDEX letters_by_request ON letters (topic, partition, offset);
CREATE INDEX retries_by_request ON retries (topic, partition, offset);
"""

Row = Sequence[Any]
Headers = Iterable[tuple[str, str | bytes | None]]


class Ledger:
    """Made anew; an existing file is refused."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise FileExistsError(path)
        self._lock = threading.Lock()
        self._sqlite = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._sqlite.execute("PRAGMA journal_mode = WAL")
        self._sqlite.execute("PRAGMA synchronous = OFF")
        self._sqlite.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._sqlite.close()

    def add(self, table: str, rows: Sequence[Row]) -> None:
        """Insert whole rows; a coordinate that is there already is an error."""
        if not rows:
            return
        marks = ",".join("?" * len(rows[0]))
        with self._lock:
            self._sqlite.execute("BEGIN")
            try:
                self._sqlite.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
            except sqlite3.Error:
                self._sqlite.execute("ROLLBACK")
                raise
            self._sqlite.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._sqlite.execute(query, values).fetchall()

    def number(self, query: str, *values: Any) -> int:
        """The single number that a query gives; 0 for null."""
        return int(self.rows(query, *values)[0][0] or 0)


def digest(key: bytes | None, value: bytes | None, headers: Headers) -> bytes:
    """Of a record's every byte, lengths and nulls included, so that nothing can shift."""
    found = hashlib.sha256()
    parts: list[str | bytes | None] = [key, value]
    for name, text in headers:
        parts += (name, text)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        found.update(b"-" if raw is None else b"%d:" % len(raw) + raw)
    return found.digest()
