"""Manifests of all runs: `history.jsonl`, to which lines are only added, and the board made of it.

`tests/workers/training/test_history.py`.
"""

import fcntl
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import msgspec

from chimera.schemas.errors import RequestError
from chimera.schemas.training_manifest import (
    Interval,
    TrainingManifest,
    decode_manifest,
    encode_manifest,
)

HISTORY = "history.jsonl"


class Place(NamedTuple):
    """One run on the board."""

    rank: int  # equal ones share theirs
    run_id: str
    version: str | None
    value: float
    interval: Interval | None
    is_tied: bool  # with the first: its interval reaches into the first one's
    is_other_data: bool = False  # than the first's: its metric is of other rows


def add(folder: Path, manifest: TrainingManifest) -> None:
    """One line more, unless the run's last one says the same."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / HISTORY).open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if any(one == manifest for one in read(folder)):
            return
        file.write((b"\n" if _is_cut(file) else b"") + encode_manifest(manifest) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _is_cut(file: BinaryIO) -> bool:
    """Whether a crash has left its last line without an end."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 1, 0))
    return size > 0 and file.read(1) != b"\n"


def read(folder: Path) -> Iterator[TrainingManifest]:
    """Oldest first, each run as it was recorded last; a line that a crash has cut is left out."""
    return (manifest for manifest, _ in entries(folder))


def entries(folder: Path) -> list[tuple[TrainingManifest, bytes]]:
    """The same, each with its line as it was written, signature in it."""
    path, found = folder / HISTORY, dict[str, tuple[TrainingManifest, bytes]]()
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            manifest = decode_manifest(line)
        except RequestError:
            continue
        found[manifest.run_id] = manifest, line
    return list(found.values())


def load_last_manifest(
    folder: Path, name: str, *, but: str | None = None
) -> TrainingManifest | None:
    """Of the newest run of a model; `but` names one that does not count."""
    return max(
        (one for one in read(folder) if one.name == name and one.run_id != but),
        key=lambda one: one.started_ms,
        default=None,
    )


def build_leaderboard(
    manifests: Iterable[TrainingManifest],
    metric: str = "eval_mse",
    direction: Literal["min", "max"] = "min",
) -> tuple[Place, ...]:
    """Runs that have the metric, best first."""
    sign = 1 if direction == "min" else -1
    found = [one for one in manifests if math.isfinite(one.metrics.get(metric, math.nan))]
    found.sort(key=lambda one: (sign * one.metrics[metric], one.run_id))
    places: list[Place] = []
    first = found[0].intervals.get(metric) if found else None
    for at, one in enumerate(found):
        value = one.metrics[metric]
        is_equal = bool(places) and places[-1].value == value
        interval = one.intervals.get(metric)
        places.append(
            Place(
                places[-1].rank if is_equal else at + 1,
                one.run_id,
                one.version,
                value,
                interval,
                at > 0 and (is_equal or _overlap(first, interval)),
                held_out(one) != held_out(found[0]),
            )
        )
    return tuple(places)


def held_out(manifest: TrainingManifest) -> tuple[object, ...]:
    """What says which rows its metrics are of: runs in which it is equal have held out the same."""
    rows = manifest.rows.get("validation")
    return manifest.dataset_digest, manifest.split, manifest.seed, rows


def write_leaderboard(folder: Path, places: Iterable[Place]) -> Path:
    """`leaderboard.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "leaderboard.json"
    rows = [{**place._asdict(), "interval": place.interval} for place in places]
    path.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=2) + b"\n")
    return path


def _overlap(one: Interval | None, other: Interval | None) -> bool:
    return one is not None and other is not None and one.low <= other.high and other.low <= one.high
