"""Labelled samples as Parquet, by model and day, each row once through crashes; and what was refused.

    model=<name>/date=<day>/samples-<partition>-<first>-<last>.parquet    offsets of the labels
    rejected/samples-<partition>-<first>-<last>.jsonl                     labels with their reasons
    .state/ledger.sqlite                                                  offsets, what waits
    .state/staged/                                                        not yet published

A file is staged and synced; one transaction of the ledger moves the offsets and names the file; then
it is renamed into its place. Whoever opens the folder finishes that: what the ledger names is
published, what it does not name never was. So a reader of `model=*/` sees each row once, and whole
files alone. Local file systems only: the rename has to be atomic. `tests/stores/test_samples.py`
ends it at each step.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (pyarrow ships no type information)

import fcntl
import json
import os
import shutil
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow  # type: ignore[import-untyped]  # ships no type information
from pyarrow import parquet

from chimera.schemas.errors import ConfigurationError

STATE, STAGED, REJECTED = ".state", "staged", "rejected"
_TYPES = {"label": pyarrow.float64(), "label_text": pyarrow.string()}  # even where all are null

_TABLES = """
CREATE TABLE IF NOT EXISTS positions (
    topic TEXT, partition INT, next INT, PRIMARY KEY (topic, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asked (
    id TEXT, partition INT, offset INT, result_offset INT, is_error INT, label TEXT, at_ms INT,
    PRIMARY KEY (id, partition, offset)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS asked_by_age ON asked (at_ms);
CREATE TABLE IF NOT EXISTS waiting (
    partition INT, offset INT, id TEXT, label TEXT, observed_ms INT, at_ms INT,
    PRIMARY KEY (partition, offset)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waiting_by_id ON waiting (id);
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counts (what TEXT PRIMARY KEY, n INT) WITHOUT ROWID;
"""


class Sample(NamedTuple):
    """A row, and where it goes."""

    model: str
    requested_ms: int
    partition: int  # of the label
    offset: int
    row: Mapping[str, Any]


class Rejected(NamedTuple):
    partition: int
    offset: int
    reason: str
    id: str
    message: str = ""


class Samples:
    """A folder of them; `with` locks it and finishes what a crash has left."""

    def __init__(self, folder: Path, reached: Callable[[str], None] = lambda _: None) -> None:
        """`reached` hears the steps: staged, committed, published."""
        self.folder = folder.expanduser().absolute()
        self._state = self.folder / STATE
        self._reached = reached

    def __enter__(self) -> Self:
        """Raises ConfigurationError: another process has it."""
        (self._state / STAGED).mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise ConfigurationError(f"{self.folder}: another `chimera ingest` has it") from None
        self.ledger = sqlite3.connect(self._state / "ledger.sqlite", isolation_level=None)
        self.ledger.executescript(f"PRAGMA synchronous=FULL; {_TABLES}")
        self._publish()
        shutil.rmtree(self._state / STAGED)  # of a commit that never was
        (self._state / STAGED).mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        self.ledger.close()
        os.close(self._lock)

    @contextmanager
    def commit(self) -> Generator["Commit"]:
        """One transaction: what is added in the block is there after it, or nothing of it."""
        found = Commit()
        self.ledger.execute("BEGIN IMMEDIATE")
        try:
            yield found
            staged = [*self._stage_samples(found.samples), *self._stage_rejected(found.rejected)]
            self._reached("staged")
            self.ledger.executemany("INSERT INTO files VALUES (?)", [(one,) for one in staged])
            self.ledger.executemany(
                "INSERT INTO counts VALUES (?, 1) ON CONFLICT DO UPDATE SET n = n + 1",
                [("joined",)] * len(found.samples) + [(one.reason,) for one in found.rejected],
            )
            self.ledger.execute("COMMIT")
        except BaseException:
            if self.ledger.in_transaction:
                self.ledger.execute("ROLLBACK")
            raise
        self._reached("committed")
        self._publish()

    def counts(self) -> dict[str, int]:
        """Rows that were joined, and labels that were not, by reason."""
        return dict(self.ledger.execute("SELECT what, n FROM counts ORDER BY what"))

    def _stage_samples(self, samples: Iterable[Sample]) -> Iterable[str]:
        groups: dict[tuple[str, str, int], list[Sample]] = defaultdict(list)
        for one in samples:
            groups[one.model, _day(one.requested_ms), one.partition].append(one)
        for (model, day, partition), found in groups.items():
            path = f"model={model}/date={day}/{_name(partition, found)}.parquet"
            staged = self._staged(path)
            parquet.write_table(_table([one.row for one in found]), staged, compression="zstd")
            _sync(staged)
            yield path

    def _stage_rejected(self, rejected: Iterable[Rejected]) -> Iterable[str]:
        groups: dict[int, list[Rejected]] = defaultdict(list)
        for one in rejected:
            groups[one.partition].append(one)
        for partition, found in groups.items():
            path = f"{REJECTED}/{_name(partition, found)}.jsonl"
            staged = self._staged(path)
            staged.write_text("".join(json.dumps(one._asdict()) + "\n" for one in found))
            _sync(staged)
            yield path

    def _publish(self) -> None:
        """Everything that the ledger names goes to its place."""
        for (path,) in self.ledger.execute("SELECT path FROM files").fetchall():
            staged, target = self._staged(path), self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if staged.exists():
                staged.replace(target)
            _sync(target.parent)
            self._reached("published")
            self.ledger.execute("DELETE FROM files WHERE path = ?", (path,))

    def _staged(self, path: str) -> Path:
        return self._state / STAGED / path.replace("/", "%")


class Commit:
    """What one transaction adds."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.rejected: list[Rejected] = []
        self.size_bytes = 0  # of the samples' tensors

    def add(self, samples: Iterable[Sample]) -> None:
        for sample in samples:
            self.samples.append(sample)
            self.size_bytes += sum(getattr(one, "nbytes", 0) for one in sample.row.values())


def _name(partition: int, found: Iterable[Sample | Rejected]) -> str:
    offsets = [one.offset for one in found]
    return f"samples-{partition}-{min(offsets):012d}-{max(offsets):012d}"


def _day(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at_ms // 1_000))


def _table(rows: list[Mapping[str, Any]]) -> Any:
    """A column that only some rows have is null in the others; one type holds all of a column."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pyarrow.table({name: _column(name, [row.get(name) for row in rows]) for name in names})


def _column(name: str, values: list[Any]) -> Any:
    if name in _TYPES:
        return pyarrow.array(values, _TYPES[name])
    arrays = [one for one in values if isinstance(one, np.ndarray)]
    if arrays:
        kind = np.result_type(*arrays)
        values = [one.astype(kind) if isinstance(one, np.ndarray) else one for one in values]
    return pyarrow.array(values)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
