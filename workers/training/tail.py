"""The growing end of a run's `metrics.jsonl`, each line once, though a run that resumes tells some again.

`tests/workers/training/test_tail.py`.
"""

import json
import os
from pathlib import Path
from typing import Any

from chimera.workers.training.folder import METRICS


class Tail:
    """Of one run; what stands there already when it begins is not told."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / METRICS
        self._at, self._inode = 0, 0
        self._told: set[tuple[str, int]] = set()
        self.read()

    def read(self) -> list[dict[str, Any]]:
        """Whole lines that are new. A file that was written anew is read from its beginning."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            if inode != self._inode:
                self._at, self._inode = 0, inode
            file.seek(self._at)
            whole, end, _ = file.read().rpartition(b"\n")
        self._at += len(whole) + len(end)
        return [line for line in map(json.loads, whole.splitlines()) if self._is_new(line)]

    def _is_new(self, line: dict[str, Any]) -> bool:
        name = (str(line["kind"]), int(line["update"]))
        is_new = name not in self._told
        self._told.add(name)
        return is_new
