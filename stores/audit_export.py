"""An export of the audit log: a folder that an auditor takes with him and verifies anywhere.

    leaves/*.parquet   the rows, by the order of the files' names: log_index, body, and both hashes
    checkpoints.txt    the log's checkpoints, one after the other
    policy             the keys that the exporter says are right (C2SP tlog-policy)

A policy that came with the rows proves nothing by itself: who alters the one alters the other.
Columns of bytes may be strings, as ClickHouse writes them. `tests/stores/test_audit_export.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (pyarrow ships no type information)

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pyarrow  # type: ignore[import-untyped]  # ships no type information
from pyarrow import parquet

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency import checkpoints
from chimera.schemas.transparency.row import Row

LEAVES_DIR, CHECKPOINTS_FILE, POLICY_FILE = "leaves", "checkpoints.txt", "policy"
MAX_CHECKPOINTS_BYTES = 1 << 30
_BATCH_ROWS = 16_384
_FILE_ROWS = 100_000
_SCHEMA = pyarrow.schema(
    [
        pyarrow.field("log_index", pyarrow.uint64(), nullable=False),
        pyarrow.field("body", pyarrow.binary(), nullable=False),
        pyarrow.field("leaf_hash", pyarrow.binary(32), nullable=False),
        pyarrow.field("chain_hash", pyarrow.binary(32), nullable=False),
    ]
)
_READ_AS = (pyarrow.uint64(), pyarrow.binary(), pyarrow.binary(), pyarrow.binary())


def read_rows(folder: Path) -> Iterator[Row]:
    """The rows as they lie, a file after the other; memory holds a batch of them.

    Raises:
        EvidenceMalformed: there are none, or a file is no Parquet with these columns; while reading.
    """
    paths = sorted((folder / LEAVES_DIR).glob("*.parquet"))
    if not paths:
        raise EvidenceMalformed(f"{folder / LEAVES_DIR}: has no *.parquet")
    for path in paths:
        yield from _read(path)


def read_checkpoints(folder: Path) -> list[bytes]:
    """The signed notes, as they were published.

    Raises:
        EvidenceMalformed: the file is missing, or the last of them is cut.
    """
    return checkpoints.split(read_file(folder / CHECKPOINTS_FILE, MAX_CHECKPOINTS_BYTES))


def read_file(path: Path, limit_bytes: int) -> bytes:
    """A file of evidence. Raises EvidenceMalformed: it cannot be read, or is too large."""
    try:
        with path.open("rb") as file:
            raw = file.read(limit_bytes + 1)
    except OSError as error:
        raise EvidenceMalformed(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > limit_bytes:
        raise EvidenceMalformed(f"{path}: has more than {limit_bytes} bytes")
    return raw


def write(folder: Path, rows: Iterable[Row], notes: Iterable[bytes], policy: bytes) -> None:
    """A new export; the folder must not be there. It takes no more rows than one file has at once."""
    (folder / LEAVES_DIR).mkdir(parents=True)
    left = iter(rows)
    for number in range(2**63):
        some = list(islice(left, _FILE_ROWS))
        if not some and number:
            break
        columns = [[row[at] for row in some] for at in range(len(_SCHEMA))]
        table = pyarrow.table(columns, schema=_SCHEMA)
        parquet.write_table(table, folder / LEAVES_DIR / f"{number:08}.parquet", compression="zstd")
    (folder / CHECKPOINTS_FILE).write_bytes(checkpoints.join(notes))
    (folder / POLICY_FILE).write_bytes(policy)


def _read(path: Path) -> Iterator[Row]:
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=_SCHEMA.names):
                columns = [batch.column(name) for name in _SCHEMA.names]
                if any(column.null_count for column in columns):
                    raise EvidenceMalformed(f"{path}: a value is missing")
                cast = (one.cast(kind) for one, kind in zip(columns, _READ_AS, strict=True))
                yield from map(Row, *(column.to_pylist() for column in cast))
    except (pyarrow.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
        raise EvidenceMalformed(f"{path}: is no Parquet file of leaves: {error}") from None
