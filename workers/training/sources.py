"""Where rows come from: files, globs, folders, any URL that fsspec opens; read in chunks.

    *.csv, *.csv.gz   *.jsonl, *.ndjson   *.parquet   synthetic:ROWS

The order of files is that of their content's digests, so that a copy elsewhere, or under other
names, is the same data set. CSV is read as text first: what is no number is told with its row, and
not guessed at. `tests/workers/training/test_sources.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (fsspec and pyarrow ship no type information)

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, NamedTuple, cast

import fsspec  # type: ignore[import-untyped]  # ships no type information
import pandas as pd

from chimera.schemas.errors import TrainingRefused
from chimera.workers.training.synthetic import SCHEME, SyntheticRegressionDataset

READERS = {"csv": "csv", "jsonl": "json", "ndjson": "json", "parquet": "parquet"}
COMPRESSED = {"gz": "gzip", "bz2": "bz2", "xz": "xz", "zst": "zstd"}
BLOCK_BYTES = 1 << 20


class Source(NamedTuple):
    """One file."""

    url: str
    kind: str  # csv, json, parquet, synthetic
    compression: str | None
    sha256: str


class Chunk(NamedTuple):
    """Rows of one file, `first` the number of the first of them, from 1, without a header."""

    url: str
    first: int
    rows: pd.DataFrame


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


def chunks(source: Source, chunk_rows: int) -> Iterator[Chunk]:
    """Its rows, so many at a time; a chunk of a Parquet file may be shorter.

    Raises:
        TrainingRefused: it is not what its name says.
    """
    first = 1
    try:
        for rows in _frames(source, chunk_rows):
            yield Chunk(source.url, first, rows)
            first += len(rows)
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors, pyarrow's too
        raise TrainingRefused(f"{source.url}, after row {first - 1}: {error}") from None


def _frames(source: Source, chunk_rows: int) -> Iterator[pd.DataFrame]:
    if source.kind == "synthetic":
        yield from SyntheticRegressionDataset.of(source.url).chunks(chunk_rows)
        return
    if source.kind == "parquet":
        yield from _parquet(source.url, chunk_rows)
        return
    with _open(source.url, source.compression) as file:
        if source.kind == "csv":
            reader: Any = pd.read_csv(file, chunksize=chunk_rows, low_memory=False)
        else:
            reader = pd.read_json(file, lines=True, chunksize=chunk_rows, dtype=False)
        with reader:
            yield from reader


def _parquet(url: str, chunk_rows: int) -> Iterator[pd.DataFrame]:
    from pyarrow import parquet  # type: ignore[import-untyped]  # ships no type information; a second to load, and most runs read text

    with _open(url) as file:
        for batch in parquet.ParquetFile(file).iter_batches(chunk_rows):
            yield batch.to_pandas()


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
