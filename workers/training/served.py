"""Served rows against what a model has learnt from: whether it is asked other things now.

    files of the last days, newest first ── rows of requests since ── one column for each of the run's ── tests

A served row has what the module was given, `input_<release.input>` of the run's configuration: the
run's features in their order, transformed as they were. Its label is the run's target, where that is one
number. At most `MAX_ROWS` are looked at, at a level of `LEVEL` a look, since looks are many.
`tests/workers/training/test_served.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (fsspec and pyarrow ship no type information)

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fsspec  # type: ignore[import-untyped]  # ships no type information
import msgspec
import numpy as np
import pyarrow  # type: ignore[import-untyped]  # ships no type information
from numpy.typing import NDArray
from pyarrow import parquet

from chimera.schemas.dataset_statistics import DatasetStatistics
from chimera.schemas.errors import TrainingRefused
from chimera.schemas.training_config import TrainingConfig
from chimera.schemas.training_manifest import Drift
from chimera.workers.training import history
from chimera.workers.training.drift import compare_stats
from chimera.workers.training.folder import CONFIG, STATISTICS
from chimera.workers.training.labelling import INPUT
from chimera.workers.training.rows import DTYPES
from chimera.workers.training.statistics import RunningStatistics

LEVEL = 0.01  # four looks a day at what has not changed: a false alarm a month, at the most
LEAST_ROWS, MAX_ROWS = 200, 1 << 15
MAX_VALUES = 1 << 24  # of all rows: 128 MiB
BATCH_ROWS = 1_024
LABEL, REQUESTED = "label", "requested_ms"
_DAY = re.compile(r"/date=(\d{4}-\d{2}-\d{2})/")

Floats = NDArray[np.float64]


class Span(NamedTuple):
    """Of requests' append times."""

    since_ms: int
    until_ms: int


class Judged(NamedTuple):
    run_id: str  # whose data they are compared with
    rows: int
    columns: tuple[Drift, ...]  # that differ; none as well where there are too few rows


class _Read(NamedTuple):
    inputs: Floats  # [rows, values]
    labels: Floats  # [rows]; of a row that has no number, NaN


def judge(runs: Path, model: str, url: str, span: Span) -> Judged | None:
    """What is served of a model against its last finished run; None: it has none with statistics.

    Raises:
        TrainingRefused: the folder cannot be read, or its rows are not such as the run has learnt from.
    """
    last = history.load_last_manifest(runs, model)
    if last is None or not (runs / last.run_id / STATISTICS).exists():
        return None
    folder = runs / last.run_id
    config = msgspec.json.decode((folder / CONFIG).read_bytes(), type=TrainingConfig)
    learnt = msgspec.json.decode((folder / STATISTICS).read_bytes(), type=DatasetStatistics)
    try:
        found = _read(url, f"{INPUT}{config.release.input}", span)
    except (OSError, ValueError, ImportError) as error:  # pyarrow's are ValueErrors
        raise TrainingRefused(f"{url}: {error}") from None
    rows = len(found.inputs)
    if rows < LEAST_ROWS:
        return Judged(last.run_id, rows, ())
    features, target = _columns(learnt, config)
    if found.inputs.shape[1] != len(features):
        raise TrainingRefused(
            f"{url}: {INPUT}{config.release.input} has {found.inputs.shape[1]} values a row, run"
            f" {last.run_id} has learnt from {len(features)}"
        )
    dtype = DTYPES[config.data.schema.feature_dtype]
    names, numbers = list(features), found.inputs.astype(dtype).astype(np.float64)
    if target is not None and np.isfinite(found.labels).all():
        names.append(target)
        numbers = np.column_stack((numbers, found.labels))
    drift = compare_stats(_of(learnt, names), _statistics(names, numbers), LEVEL)
    return Judged(last.run_id, rows, tuple(one for one in drift if one.is_drift))


def _columns(learnt: DatasetStatistics, config: TrainingConfig) -> tuple[list[str], str | None]:
    """The features in the order of the input, and the target if that is one number."""
    goal = config.data.schema.target
    goals = {goal} if isinstance(goal, str) else set(goal)
    features = [
        name for name in learnt.columns if name not in goals and not name.startswith("target[")
    ]
    is_one = isinstance(goal, str) and goal in learnt.columns
    return features, str(goal) if is_one else None


def _of(learnt: DatasetStatistics, names: Sequence[str]) -> DatasetStatistics:
    """Of these columns alone: what nobody has told of a served row has not gone from it."""
    return msgspec.structs.replace(
        learnt,
        columns={name: learnt.columns[name] for name in names},
        sample={name: learnt.sample[name] for name in names},
    )


def _statistics(names: Sequence[str], numbers: Floats) -> DatasetStatistics:
    found = RunningStatistics(names)
    found.add(numbers)
    return found.finish("0" * 64, {})


def _read(url: str, column: str, span: Span) -> _Read:
    inputs: list[Floats] = []
    labels: list[Floats] = []
    has_column, left = False, MAX_ROWS
    for batch in _batches(url, span):
        if column not in batch.schema.names:
            continue  # another version's requests may have had other tensors
        has_column = True
        found = _rows(batch, column, span)
        if inputs and len(found.inputs) and found.inputs.shape[1] != inputs[0].shape[1]:
            raise TrainingRefused(f"{url}: rows of {column} are of several lengths")
        if len(found.inputs):
            left = min(left, MAX_VALUES // found.inputs.shape[1] - sum(map(len, inputs)))
            inputs.append(found.inputs[:left])
            labels.append(found.labels[:left])
            left -= len(inputs[-1])
        if left <= 0:
            break
    if not inputs:
        if not has_column and any(True for _ in _batches(url, span)):
            raise TrainingRefused(f"{url}: no row has {column}: is release.input right?")
        return _Read(np.zeros((0, 0)), np.zeros(0))
    return _Read(np.concatenate(inputs), np.concatenate(labels))


def _batches(url: str, span: Span) -> Iterator[Any]:
    """Of its files, the newest days first."""
    system, path = fsspec.core.url_to_fs(url)
    if not system.exists(path):
        raise TrainingRefused(f"{url}: there is no such folder")
    day = time.strftime("%Y-%m-%d", time.gmtime(span.since_ms / 1_000))
    dated = [(_day(one), one) for one in system.find(path) if _is_published(one[len(path) :])]
    for _, file in sorted((one for one in dated if one[0] >= day), reverse=True):
        with system.open(file, "rb") as opened:
            yield from parquet.ParquetFile(opened).iter_batches(BATCH_ROWS)


def _is_published(inside: str) -> bool:
    """No file that is still being written, or of an ingestion's state."""
    return inside.endswith(".parquet") and "/." not in inside


def _day(file: str) -> str:
    """Of a file that does not say: later than all."""
    found = _DAY.search(file)
    return found[1] if found else "~"


def _rows(batch: Any, column: str, span: Span) -> _Read:
    """Those of the span whose numbers are all there."""
    at_ms = batch.column(REQUESTED).to_numpy(zero_copy_only=False)
    is_there = batch.column(column).is_valid().to_numpy(zero_copy_only=False)
    is_meant = is_there & (at_ms >= span.since_ms) & (at_ms <= span.until_ms)
    kept = batch.filter(pyarrow.array(is_meant))
    lists = kept.column(column)
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    if len(set(lengths.tolist())) > 1:
        raise TrainingRefused(f"rows of {column} are of several lengths")
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    inputs = flat.reshape(len(kept), -1) if len(kept) else flat.reshape(0, 1)
    labels = kept.column(LABEL).to_numpy(zero_copy_only=False).astype(np.float64)
    is_whole = np.isfinite(inputs).all(axis=1)
    return _Read(inputs[is_whole], labels[is_whole])
