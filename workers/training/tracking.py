"""What a run tells while it goes: lines in `metrics.jsonl`, files in `artifacts/`, and whoever listens.

A line is written whole, in one call, so that a reader of the growing file sees none by halves; a run
that resumes drops the lines that it tells again. `tests/workers/training/test_tracking.py`.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from chimera.schemas.training_config import TrainingConfig
from chimera.workers.training.folder import METRICS

STEP = "step"
WRITE_EVERY_S = 0.1  # a write for each quick step would be felt

Listener = Callable[[dict[str, Any]], None]


class ExperimentTracker:
    """Of one run's folder."""

    def __init__(self, folder: Path, listeners: tuple[Listener, ...] = ()) -> None:
        self.folder = folder
        self._listeners = listeners
        self._lines: list[dict[str, Any]] = []  # not yet in the file
        self._written_s = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / METRICS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def log(self, kind: str, update: int, values: dict[str, Any]) -> None:
        """One line: what it is about, the update after which it holds, and the values.

        A step's is written within `WRITE_EVERY_S` of the one before, the others at once.
        """
        line = {"kind": kind, "update": update, "at_ms": time.time_ns() // 1_000_000, **values}
        self._lines.append(line)
        now_s = time.monotonic()
        if kind != STEP or now_s - self._written_s >= WRITE_EVERY_S:
            self._written_s = now_s
            self.flush()
        for listener in self._listeners:
            listener(line)

    def flush(self) -> None:
        """What was told stands in the file."""
        if self._lines:
            os.write(self._file, b"".join(msgspec.json.encode(one) + b"\n" for one in self._lines))
            self._lines.clear()

    def log_artifact(self, file: Path, name: str | None = None) -> Path:
        """A copy of a file, beside the metrics."""
        target = self.folder / "artifacts" / (name or file.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy2(file, target))

    def forget_after(self, update: int) -> None:
        """Lines of later updates: the run resumes before them, and will tell them again."""
        self.flush()
        path = self.folder / METRICS
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if _update(line) <= update]
        writing = path.with_suffix(".writing")
        writing.write_bytes(b"".join(kept))
        writing.replace(path)
        os.close(self._file)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def close(self) -> None:
        self.flush()
        os.close(self._file)


@contextmanager
def opened(
    config: TrainingConfig, folder: Path, listeners: Iterable[Listener], mlflow_uri: str | None
) -> Generator[ExperimentTracker]:
    """For as long as a run lasts; `mlflow_uri`: of an MLflow that hears of it, too.

    Raises:
        ConfigurationError: one is wanted, and its client is not installed.
    """
    with ExitStack() as stack:
        heard_by = tuple(listeners)
        if mlflow_uri is not None:
            from chimera.workers.training.mlflow_sink import MlflowSink

            heard_by += (stack.enter_context(MlflowSink(mlflow_uri, config, folder)),)
        yield stack.enter_context(closing(ExperimentTracker(folder, heard_by)))


def _update(line: bytes) -> float:
    """Of a line that was cut by a crash: later than any."""
    try:
        found = json.loads(line)["update"]
    except (ValueError, KeyError, TypeError):
        return float("inf")
    return float(found)
