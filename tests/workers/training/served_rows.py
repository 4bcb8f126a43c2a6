"""A run of a model on synthetic rows, as far as its folder tells of its data; and rows that are served of it."""

import time
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace

from chimera.stores.samples import Sample, Samples
from chimera.workers.training import history
from chimera.workers.training.folder import CONFIG, STATISTICS
from chimera.workers.training.preparation import prepare
from chimera.workers.training.synthetic import SyntheticRegressionDataset
from tests.workers.training.places import config
from tests.workers.training.test_history import MANIFEST

MODEL, ROWS = "line", 600
DAY_MS = 86_400_000


def learnt(runs: Path, run_id: str = "base") -> None:
    """A finished run, without what torch would have made."""
    wanted = config(data={"sources": [f"synthetic:{ROWS},4"]})
    made = prepare(wanted, runs / run_id / "data")
    (runs / run_id / CONFIG).write_bytes(msgspec.json.encode(wanted))
    (runs / run_id / STATISTICS).write_bytes(msgspec.json.encode(made.statistics))
    history.add(runs, replace(MANIFEST, run_id=run_id, name=MODEL))


def serve(
    folder: Path,
    shift: float = 0.0,
    *,
    rows: int = ROWS,
    partition: int = 0,
    days_ago: int = 0,
    tensor: str = "features",
) -> str:
    """Rows of the same source, their inputs shifted, as an ingestion writes them; the folder's URL."""
    (frame,) = SyntheticRegressionDataset(rows, 4).chunks(rows)
    at_ms = time.time_ns() // 1_000_000 - days_ago * DAY_MS
    inputs = frame[["x0", "x1", "x2", "x3"]].to_numpy(np.float32) + np.float32(shift)
    with Samples(folder) as samples, samples.commit() as commit:
        for number, (values, y) in enumerate(zip(inputs, frame["y"], strict=True)):
            row = {f"input_{tensor}": values, "label": float(y), "requested_ms": at_ms}
            commit.add([Sample(MODEL, at_ms, partition, number, row)])
    return f"file://{folder}/model={MODEL}"
