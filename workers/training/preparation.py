"""A data set made ready: one pass over its files, arrays on disk, parted into two by rows' keys.

    files ── chunks ── rows checked ── digest, keys, statistics ── train/  validation/

Arrays are mapped, not read, so a data set may be larger than memory. A row goes where its key says
(`row_keys.py`), so equal rows never stand on both sides, and a row that was held out stays held
out when others come. Statistics do not know of it: equal rows have equal ones, whatever the seed. The
digest of the data set is over its arrays in the order that training sees: names, places and chunks
make no difference, and neither does the format of a file that is alone. Of several the order is that
of their bytes (`sources.py`), so writing one anew may move it.
`tests/workers/training/test_preparation.py`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chimera.schemas.dataset_statistics import DatasetStatistics
from chimera.schemas.errors import TrainingRefused
from chimera.schemas.training_config import TrainingConfig
from chimera.workers.training import sources
from chimera.workers.training.chunks import BadRow
from chimera.workers.training.folder import LAYOUT
from chimera.workers.training.provenance import source_sha256
from chimera.workers.training.row_keys import RULE, row_keys
from chimera.workers.training.rows import Good, RowReader
from chimera.workers.training.statistics import RunningStatistics
from chimera.workers.training.synthetic import SCHEME

SHARES = 2**32
SLICES = "slices.json"

Side = Literal["train", "validation"]
Transform = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True, eq=False)
class Rows:
    """One side; row i of each array belongs together."""

    features: NDArray[Any]  # [rows, ...], mapped
    target: NDArray[Any]
    ids: NDArray[np.int64]  # [rows, 2]: number of the file, and of the row in it, from 1
    slices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True, eq=False)
class Prepared:
    train: Rows
    validation: Rows
    statistics: DatasetStatistics
    files: tuple[str, ...]
    quarantined: int
    dropped: int
    is_synthetic: bool
    split: int  # the rule of keys that parted its rows
    transform_sha256: str  # of the source of what transformed them; empty: nothing did

    @property
    def digest(self) -> str:
        return self.statistics.dataset_digest

    def name(self, row_id: NDArray[np.int64]) -> str:
        """Of a row, for people."""
        return f"{self.files[row_id[0]]}, row {row_id[1]}"


def prepare(config: TrainingConfig, folder: Path, transform: Transform | None = None) -> Prepared:
    """Read everything into `folder`, which is made.

    Raises:
        TrainingRefused: a file is missing or damaged, a row is bad where none may be (the message
            has file, row and column), or a side has no rows.
    """
    folder.mkdir(parents=True)
    found = sources.find(config.data.sources)
    reader = RowReader(config.data.schema, config.task, config.evaluation.slice, transform)
    transform_sha256 = "" if transform is None else source_sha256(transform)
    with _Writer(folder, config, transform_sha256) as writer:
        for number, source in enumerate(found):
            for chunk in sources.chunks(source, config.data.chunk_rows, reader.text):
                if not len(chunk.rows):
                    writer.refuse(chunk.bad)
                    continue
                good, bad = reader.read(chunk)
                writer.refuse(bad)
                writer.add(good, number, reader.features)
        return writer.finish(tuple(source.url for source in found))


@dataclass(eq=False)
class _Side:
    """Files of one side while they are written."""

    features: BinaryIO
    target: BinaryIO
    ids: BinaryIO
    slices: list[str] = field(default_factory=list[str])
    rows: int = 0

    @classmethod
    def opened(cls, folder: Path) -> "_Side":
        folder.mkdir()
        return cls(
            (folder / "features.bin").open("wb"),
            (folder / "target.bin").open("wb"),
            (folder / "ids.bin").open("wb"),
        )

    def close(self) -> None:
        for file in (self.features, self.target, self.ids):
            file.close()


class _Layout(msgspec.Struct, frozen=True):
    """What is needed to map the files again; written last."""

    shapes: tuple[str, tuple[int, ...], str, tuple[int, ...]]
    rows: dict[str, int]
    files: tuple[str, ...]
    quarantined: int
    statistics: DatasetStatistics
    split: int = 1  # of folders that were made before there was another
    dropped: int = 0
    transform_sha256: str = ""


class _Writer:
    def __init__(self, folder: Path, config: TrainingConfig, transform_sha256: str) -> None:
        self._folder, self._config = folder, config
        self._transform_sha256 = transform_sha256
        self._sides: dict[Side, _Side] = {
            "train": _Side.opened(folder / "train"),
            "validation": _Side.opened(folder / "validation"),
        }
        self._digests = (hashlib.sha256(), hashlib.sha256())
        self._statistics: RunningStatistics | None = None
        self._shapes: tuple[str, tuple[int, ...], str, tuple[int, ...]] = ("", (), "", ())
        self._nulls: Counter[str] = Counter()
        self._quarantine: BinaryIO | None = None
        self._quarantined, self._dropped = 0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for side in self._sides.values():
            side.close()
        if self._quarantine is not None:
            self._quarantine.close()

    def refuse(self, bad: Sequence[BadRow]) -> None:
        """Raises TrainingRefused: no bad row is allowed."""
        if not bad:
            return
        if self._config.data.on_bad_rows == "fail":
            more = f" ({len(bad) - 1} more like it in this chunk)" if len(bad) > 1 else ""
            raise TrainingRefused(f"{bad[0]}{more}")
        if self._quarantine is None:
            self._quarantine = (self._folder / "quarantine.jsonl").open("wb")
        for one in bad:
            self._quarantine.write(json.dumps(one._asdict()).encode() + b"\n")
        self._quarantined += len(bad)

    def add(self, good: Good, file: int, names: list[str]) -> None:
        """Rows of one chunk of a file."""
        count = len(good.target)
        self._nulls.update(good.nulls)
        self._dropped += good.dropped
        if not count:
            return
        features = np.ascontiguousarray(good.features)
        target = np.ascontiguousarray(good.target)
        self._shapes = (features.dtype.str, features.shape[1:], target.dtype.str, target.shape[1:])
        self._digests[0].update(features.data)
        self._digests[1].update(target.data)
        keys = row_keys((features, target), self._config.seed)
        self._tell(features, target, names)
        ids = np.stack((np.full(count, file), good.numbers), axis=1).astype(np.int64)
        is_held_out = keys % SHARES < self._config.data.validation_share * SHARES
        for name, side in self._sides.items():
            chosen = np.flatnonzero(is_held_out == (name == "validation"))
            for into, array in (
                (side.features, features),
                (side.target, target),
                (side.ids, ids),
            ):
                into.write(array.take(chosen, axis=0).data)
            side.rows += len(chosen)
            if good.slices is not None:
                side.slices += [good.slices[at] for at in chosen.tolist()]

    def _tell(self, features: NDArray[Any], target: NDArray[Any], names: list[str]) -> None:
        wide = features.reshape(len(features), -1)
        wanted = target.reshape(len(target), -1)
        if self._statistics is None:
            columns = names if len(names) == wide.shape[1] else _numbered(names[0], wide.shape[1])
            goal = self._config.data.schema.target
            goals = [goal] if isinstance(goal, str) else list(goal)
            self._statistics = RunningStatistics(
                [
                    *columns,
                    *(
                        goals
                        if len(goals) == wanted.shape[1]
                        else _numbered("target", wanted.shape[1])
                    ),
                ]
            )
        self._statistics.add(np.concatenate((wide, wanted), axis=1))

    def finish(self, files: tuple[str, ...]) -> Prepared:
        """Close what was written, and map it. Raises TrainingRefused: a side is empty."""
        for name, side in self._sides.items():
            side.close()
            if not side.rows:
                raise TrainingRefused(f"no good row is left for {name}")
            (self._folder / name / SLICES).write_text(json.dumps(side.slices))
        assert self._statistics is not None  # there are rows
        both = b"".join(digest.digest() for digest in self._digests)
        digest = hashlib.sha256(repr(self._shapes).encode() + both).hexdigest()
        nulls = {name: self._nulls[self._origin(name)] for name in self._statistics.names}
        statistics = self._statistics.finish(digest, nulls)
        rows = {str(name): side.rows for name, side in self._sides.items()}
        layout = _Layout(
            self._shapes,
            rows,
            files,
            self._quarantined,
            statistics,
            RULE,
            self._dropped,
            self._transform_sha256,
        )
        writing = self._folder / f".{LAYOUT}"
        writing.write_bytes(msgspec.json.encode(layout))
        writing.rename(self._folder / LAYOUT)
        return opened(self._folder)

    def _origin(self, name: str) -> str:
        """The column in the files: `image` of `image[7]`, where images are lists."""
        return name if name in self._nulls else name.rpartition("[")[0]


def opened(folder: Path) -> Prepared:
    """What `prepare` has made there. Raises TrainingRefused: it has not, or not to its end."""
    try:
        layout = msgspec.json.decode((folder / LAYOUT).read_bytes(), type=_Layout)
    except (OSError, msgspec.DecodeError) as error:
        raise TrainingRefused(f"{folder}: no prepared data set: {error}") from None
    return Prepared(
        _mapped(folder / "train", layout, layout.rows["train"]),
        _mapped(folder / "validation", layout, layout.rows["validation"]),
        layout.statistics,
        layout.files,
        layout.quarantined,
        layout.dropped,
        any(name.startswith(SCHEME) for name in layout.files),
        layout.split,
        layout.transform_sha256,
    )


def _mapped(folder: Path, layout: _Layout, rows: int) -> Rows:
    dtype, shape, target_dtype, target_shape = layout.shapes

    def mapped(file: str, kind: Any, rest: tuple[int, ...]) -> NDArray[Any]:
        return np.memmap(folder / f"{file}.bin", kind, "r", shape=(rows, *rest))

    return Rows(
        mapped("features", dtype, shape),
        mapped("target", target_dtype, target_shape),
        mapped("ids", np.int64, (2,)),
        tuple(json.loads((folder / SLICES).read_text())),
    )


def _numbered(name: str, count: int) -> list[str]:
    return [f"{name}[{at}]" for at in range(count)]
