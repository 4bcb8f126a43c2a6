"""What a run tells while it goes: lines in `metrics.jsonl`, files in `artifacts/`, and whoever listens.

A line is written whole, in one call, so that a reader of the growing file sees none by halves; a run
that resumes drops the lines that it tells again. `tests/workers/training/test_tracking.py`.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from chimera.workers.training.folder import METRICS

Listener = Callable[[dict[str, Any]], None]


class ExperimentTracker:
    """Of one run's folder."""

    def __init__(self, folder: Path, listeners: tuple[Listener, ...] = ()) -> None:
        self.folder = folder
        self._listeners = listeners
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / METRICS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def log(self, kind: str, update: int, values: dict[str, Any]) -> None:
        """One line: what it is about, the update after which it holds, and the values."""
        line = {"kind": kind, "update": update, "at_ms": time.time_ns() // 1_000_000, **values}
        os.write(self._file, msgspec.json.encode(line) + b"\n")
        for listener in self._listeners:
            listener(line)

    def log_artifact(self, file: Path, name: str | None = None) -> Path:
        """A copy of a file, beside the metrics."""
        target = self.folder / "artifacts" / (name or file.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy2(file, target))

    def forget_after(self, update: int) -> None:
        """Lines of later updates: the run resumes before them, and will tell them again."""
        path = self.folder / METRICS
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if _update(line) <= update]
        writing = path.with_suffix(".writing")
        writing.write_bytes(b"".join(kept))
        writing.replace(path)
        os.close(self._file)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def close(self) -> None:
        os.close(self._file)


def _update(line: bytes) -> float:
    """Of a line that was cut by a crash: later than any."""
    try:
        found = json.loads(line)["update"]
    except (ValueError, KeyError, TypeError):
        return float("inf")
    return float(found)
