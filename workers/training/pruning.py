"""A finished run's prepared data set, given up: as large as what was read, and read by nobody any more.

Its statistics stay beside it, for drift, and so do the rows that it refused. What a crash leaves is no
data set: the layout goes first. `tests/workers/training/test_pruning.py`.
"""

import shutil
from pathlib import Path

from chimera.workers.training.folder import DATA, LAYOUT, SIDES


def forget_data(folder: Path) -> int:
    """Of a run's folder; bytes that it had."""
    data = folder / DATA
    sides = [data / side for side in SIDES]
    files = [file for side in sides for file in side.glob("*")]
    freed_bytes = sum(file.stat().st_size for file in files)
    (data / LAYOUT).unlink(missing_ok=True)
    for side in sides:
        shutil.rmtree(side, ignore_errors=True)
    return freed_bytes
