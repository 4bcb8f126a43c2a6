"""What a trainer does with an order: trains, writes the version's folder, and says what happens.

Lines of steps are told no oftener than the order says, everything else at once. Its manifest is a draft:
the agent has the key, and records it. What fails is a line, too: a run that cannot be, one whose loss is no number any more, one that needs more memory than it
may have. `tests/agents/training/test_agent.py`.
"""

import fcntl
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch

from chimera.schemas.errors import ChimeraError, RequestError, TrainingAborted
from chimera.schemas.training_manifest import TrainingManifest, decode_manifest
from chimera.workers.memory import taken_bytes
from chimera.workers.training import lines
from chimera.workers.training.folder import CONFIG, MANIFEST
from chimera.workers.training.lines import Failure, Line, Order
from chimera.workers.training.run import Where, train
from chimera.workers.training.version import write_version

LOCK = "trainer.lock"
MAX_ERROR = 4_096


class Trainer:
    """Of one order, once."""

    def __init__(self, order: Order) -> None:
        self._order, self._told_s = order, 0.0
        self._out = sys.stdout.buffer
        sys.stdout = sys.stderr  # a library's prints are no lines of ours
        self._where = Where(
            runs=Path(order.runs_dir),
            run_id=order.run_id,
            allowed=order.allowed,
            device=order.device,
            resident_bytes=order.resident_bytes,
            threads=order.threads,
            records=False,
            mlflow_uri=order.mlflow_uri,
        )

    def run(self) -> int:
        """The exit status."""
        try:
            with self._locked():
                torch.set_num_threads(self._order.threads)
                manifest = self._finished() or self._train()
                self._say(self._end(manifest))
        except TrainingAborted as error:
            return self._fail("aborted", str(error))
        except ChimeraError as error:
            return self._fail("refused", str(error))
        except MemoryError as error:
            return self._fail("out_of_memory", self._of_memory(error))
        except Exception as error:  # noqa: BLE001  # the boundary: what it was is told, not lost
            traceback.print_exc()
            is_memory = isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
            text = self._of_memory(error) if is_memory else repr(error)
            return self._fail("out_of_memory" if is_memory else "crashed", text)
        return 0

    def _locked(self) -> Any:
        """The folder's lock, waited for: who held it before is on its way out."""
        self._where.folder.mkdir(parents=True, exist_ok=True)
        file = (self._where.folder / LOCK).open("ab")
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def _train(self) -> TrainingManifest:
        resume = (self._where.folder / CONFIG).exists()
        return train(self._order.config, self._where, resume=resume, listeners=(self._hear,))

    def _finished(self) -> TrainingManifest | None:
        """What a trainer before this one has finished, and perhaps nobody was told of."""
        try:
            return decode_manifest((self._where.folder / MANIFEST).read_bytes())
        except (OSError, RequestError):
            return None

    def _end(self, manifest: TrainingManifest) -> lines.Finished:
        try:
            folder = write_version(self._order.config, self._where)
        except ChimeraError as error:
            return lines.Finished(manifest=manifest, unservable=str(error)[:MAX_ERROR])
        return lines.Finished(manifest=manifest, version_dir=str(folder))

    def _hear(self, line: dict[str, Any]) -> None:
        """A line of the tracker's."""
        kind, now_s = line["kind"], time.monotonic()
        if kind == "step" and now_s - self._told_s >= self._order.tell_s:
            self._told_s = now_s
            self._say(
                lines.Stepped(
                    memory_bytes=taken_bytes(self._order.device), **_of(line, lines.Stepped)
                )
            )
        elif kind == "epoch":
            self._say(lines.Evaluated(**_of(line, lines.Evaluated)))
        elif kind == "checkpoint":
            self._say(lines.Saved(**_of(line, lines.Saved)))

    def _say(self, line: Line) -> None:
        self._out.write(lines.encode(line) + b"\n")
        self._out.flush()

    def _fail(self, code: Failure, error: str) -> int:
        self._say(lines.Failed(code=code, error=error[:MAX_ERROR]))
        return 1

    def _of_memory(self, error: BaseException) -> str:
        limit = self._order.memory_bytes
        may = "" if limit is None else f" (CHIMERA_TRAINER__MEMORY_BYTES: {limit})"
        return f"it needs more memory than it may have{may}: {error}"


def _of(line: dict[str, Any], kind: type[Line]) -> dict[str, Any]:
    return {name: line[name] for name in kind.__struct_fields__ if name in line}
