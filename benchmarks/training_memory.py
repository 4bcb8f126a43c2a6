"""Resident memory of a run whose data set is ten times as large as what may be resident of it.

    first   median of the second tenth of the samples between the first update and the last
    last    median of the last tenth; growth is the one over the other

`python -m benchmarks.training_memory FOLDER LIMIT` is the process that is watched: it prepares the
rows and trains one epoch. Of the process: all pages that are mapped, those of files too.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.usage import Sampler

TIMES = 10
ROW_BYTES = 4 * 64 + 4 + 16  # features, target, ids
CHILD = [sys.executable, "-m", "benchmarks.training_memory"]
EVERY_S = 0.05


def measure(folder: Path, limit_bytes: int) -> dict[str, Any]:
    """Watch the run from outside. Raises CalledProcessError: it failed."""
    root = Path(__file__).resolve().parents[1]
    command = [*CHILD, str(folder), str(limit_bytes)]
    child = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE)
    with Sampler({"run": [child.pid]}, EVERY_S) as sampler:
        told, _ = child.communicate()
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    found = json.loads(told)
    track = sampler.tracks[0]
    times, sizes = np.array(track.times), np.array(track.rss_mb)
    training = sizes[(times >= found["first_s"]) & (times <= found["last_s"])]
    preparing = sizes[(times >= found["began_s"]) & (times < found["first_s"])]
    tenth = max(1, len(training) // 10)
    first, last = float(np.median(training[tenth : 2 * tenth])), float(np.median(training[-tenth:]))
    return {
        "limit_mb": round(limit_bytes / 1e6, 1),
        "data_mb": round(found["data_bytes"] / 1e6, 1),
        "before_mb": round(found["before_bytes"] / 1e6, 1),
        "preparing_peak_mb": round(float(preparing.max()), 1),
        "training_first_mb": round(first, 1),
        "training_last_mb": round(last, 1),
        "training_peak_mb": round(float(training.max()), 1),
        "growth_pct": round((last / first - 1) * 100, 2),
    }


def main(folder: Path, limit_bytes: int) -> None:
    """The run that is watched; times of the monotonic clock on standard output."""
    import time

    import psutil

    from benchmarks import training
    from chimera.workers.training.run import Where, train

    process = psutil.Process()
    wanted = training.order(TIMES * limit_bytes // ROW_BYTES, (16,), batch_size=512)
    small = training.order(2_000, (16,))
    train(small, Where(runs=folder, run_id="small", allowed=training.ALLOWED))  # all is loaded
    before, began_s = process.memory_info().rss, time.monotonic()
    steps: list[float] = []

    def hear(line: dict[str, Any]) -> None:
        if line["kind"] == "step":
            steps.append(time.monotonic())

    where = Where(runs=folder, run_id="large", allowed=training.ALLOWED, resident_bytes=limit_bytes)
    train(wanted, where, listeners=(hear,))
    size = sum(file.stat().st_size for file in (folder / "large" / "data").rglob("*.bin"))
    told = {
        "first_s": steps[0],
        "last_s": steps[-1],
        "began_s": began_s,
        "before_bytes": before,
        "data_bytes": size,
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
