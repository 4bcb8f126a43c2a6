"""Where rows come from: files, globs, folders, any URL that fsspec opens; read in chunks.

    *.csv, *.csv.gz   *.jsonl, *.ndjson   *.parquet   synthetic:ROWS

The order of files is that of their content's digests, so that a copy elsewhere, or under other
names, is the same data set. What is no number is told with its row (`rows.py`), a line that is no row
likewise (`chunks.py`); a file that cannot be unpacked is refused whole.
`tests/workers/training/test_sources.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (fsspec and pyarrow ship no type information)

import hashlib
import io
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import fsspec  # type: ignore[import-untyped]  # ships no type information

from chimera.schemas.errors import TrainingRefused
from chimera.workers.training import csv_lines, json_lines
from chimera.workers.training.chunks import Chunk
from chimera.workers.training.synthetic import SCHEME, SyntheticRegressionDataset

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

READERS = {"csv": "csv", "jsonl": "json", "ndjson": "json", "parquet": "parquet"}
COMPRESSED = {"gz": "gzip", "bz2": "bz2", "xz": "xz", "zst": "zstd"}
BLOCK_BYTES = 1 << 20


class Source(NamedTuple):
    """One file."""

    url: str
    kind: str  # csv, json, parquet, synthetic
    compression: str | None
    sha256: str


def find(patterns: Iterable[str]) -> list[Source]:
    """All files that are meant, each once.

    Raises:
        TrainingRefused: one names nothing, or a file's kind cannot be told.
    """
    found: dict[str, Source] = {}
    for pattern in patterns:
        if pattern.startswith(SCHEME):
            found[pattern] = Source(pattern, "synthetic", None, _sha256([pattern.encode()]))
            continue
        urls = _expand(pattern)
        if not urls:
            raise TrainingRefused(f"{pattern}: there is no such file")
        for url in urls:
            found.setdefault(url, _source(url))
    return sorted(found.values(), key=lambda one: (one.sha256, one.url))


def chunks(source: Source, chunk_rows: int, text: Collection[str] = ()) -> Iterator[Chunk]:
    """Its rows, so many at a time; a chunk of a Parquet file may be shorter.

    `text` names columns whose values are what is written there: `007` is no 7, and 1 is no 1.0 since
    another row of its chunk has none.

    Raises:
        TrainingRefused: it is not what its name says, or damaged.
    """
    done = 0
    try:
        for chunk in _read(source, chunk_rows, text):
            yield chunk
            done = chunk.last
    except (ValueError, OSError, NotImplementedError) as error:  # pyarrow's are such, too
        raise TrainingRefused(f"{source.url}, after row {done}: {error}") from None


def _read(source: Source, chunk_rows: int, text: Collection[str]) -> Iterator[Chunk]:
    url = source.url
    match source.kind:
        case "synthetic":
            done = 0
            for rows in SyntheticRegressionDataset.of(url).chunks(chunk_rows):
                yield Chunk.after(url, done, rows)
                done += len(rows)
        case "parquet":
            yield from _parquet(url, chunk_rows, text)
        case kind:
            read = csv_lines.read if kind == "csv" else json_lines.read
            yield from read(url, partial(_unpacked, url, source.compression), chunk_rows, text)


def _parquet(url: str, chunk_rows: int, text: Collection[str]) -> Iterator[Chunk]:
    from pyarrow import parquet  # type: ignore[import-untyped]  # ships no type information; a second to load, and most runs read text

    done = 0
    with _open(url) as file:
        for batch in parquet.ParquetFile(file).iter_batches(chunk_rows):
            rows = batch.to_pandas()
            for name in text:
                if name in rows.columns:  # else whole numbers beside nulls become fractions
                    rows[name] = batch.column(name).to_pandas(integer_object_nulls=True)
            yield Chunk.after(url, done, rows)
            done += len(rows)


def _expand(pattern: str) -> list[str]:
    """Full URLs of the files that a path, a glob or a folder means."""
    try:
        system, path = fsspec.core.url_to_fs(pattern)
        if system.isdir(path):
            inside = [one for one in system.find(path) if _kind(one) is not None]
            return [system.unstrip_protocol(one) for one in inside]
        return [system.unstrip_protocol(one) for one in system.glob(path)]
    except (OSError, ValueError, ImportError) as error:
        raise TrainingRefused(f"{pattern}: {error}") from None


def _source(url: str) -> Source:
    kind = _kind(url)
    if kind is None:
        raise TrainingRefused(f"{url}: its name ends in none of {', '.join(READERS)}")
    try:
        with _open(url) as file:
            sha256 = _sha256(_blocks(file))
    except OSError as error:
        raise TrainingRefused(f"{url}: {error}") from None
    return Source(url, *kind, sha256)


def _open(url: str, compression: str | None = None) -> AbstractContextManager[BinaryIO]:
    found: Any = fsspec.open(url, "rb", compression=compression)
    return cast(AbstractContextManager[BinaryIO], found)


@contextmanager
def _unpacked(url: str, compression: str | None) -> Generator[BinaryIO]:
    with _open(url, compression) as file:
        yield io.BufferedReader(_Unpacked(file), BLOCK_BYTES)


class _Unpacked(io.RawIOBase):
    """A file whose damage is an OSError, whichever library finds it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, into: "WriteableBuffer", /) -> int:
        room = memoryview(into)
        try:
            found = self._file.read(len(room))
        except Exception as error:  # each has its own: EOFError, zlib.error, LZMAError, ZstdError
            raise OSError(f"it cannot be unpacked: {error}") from error
        room[: len(found)] = found
        return len(found)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block


def _kind(url: str) -> tuple[str, str | None] | None:
    *rest, last = url.rsplit("/", 1)[-1].lower().split(".")
    compression = COMPRESSED.get(last)
    if compression is not None and rest:
        last = rest[-1]
    kind = READERS.get(last)
    if kind is None or (compression is not None and kind == "parquet"):
        return None
    return kind, compression


def _sha256(blocks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()
