"""Training: what the loop, the loaders and checkpoints cost beside bare ones; processes; memory.

    loop         microseconds of an update: `train`, and a hand-written loop of the same mathematics
    loaders      rows per second: ours in chunks, checked and prepared; pandas and pyarrow bare
    checkpoint   milliseconds of one, and its share of the ten minutes between two by default
    processes    rows per second of two processes under torchrun over twice those of one
    memory       resident, while a data set of ten times the limit is prepared and trained on

Times of loop and loaders are processor time of one thread, in turns, so that others on the machine
count less: an update of ours, a bare one; all loaders, once a round. `tests/benchmarks/test_training.py` runs some of it, small.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportPrivateImportUsage=false, reportMissingTypeStubs=false
# (torch's functions are typed in part, pyarrow ships no type information)

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import torch
from pyarrow import parquet  # type: ignore[import-untyped]  # ships no type information
from torch.nn.functional import mse_loss
from torch.nn.utils import clip_grad_norm_

from benchmarks import machine, training_memory
from benchmarks.sitting import summary
from chimera.schemas.training_config import TrainingConfig
from chimera.workers.definitions.mlp import Mlp
from chimera.workers.training import gang, preparation, sources
from chimera.workers.training.checkpoints import CheckpointSaver
from chimera.workers.training.run import Where, train

ALLOWED = ("chimera.workers.definitions.mlp:*",)
HIDDEN = (256, 256)
FEATURES = 64
CADENCE_S = 600.0
WARM_UP = 20  # updates that do not count

Report = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured."""

    rounds: int = 5
    loop_rows: int = 64_000
    loader_rows: int = 200_000
    process_rows: int = 60_000
    memory_limit_bytes: int = 32 << 20
    checkpoint_width: int = 2_048  # 4 hidden layers: 13 million parameters, 150 MB of a checkpoint


def run(folder: Path, sizes: Sizes, say: Say) -> Report:
    """All five."""
    torch.set_num_threads(1)
    report: Report = {
        "kind": "training",
        "rounds": sizes.rounds,
        "machine": machine.describe(None),
        "threads": 1,
    }
    parts: dict[str, Callable[[Path, Sizes], Report]] = {
        "loop": loop,
        "loaders": loaders,
        "checkpoint": checkpoint,
        "processes": processes,
        "memory": memory,
    }
    for name, part in parts.items():
        say(name)
        (folder / name).mkdir()
        report[name] = part(folder / name, sizes)
    return report


def order(rows: int, hidden: tuple[int, ...] = HIDDEN, **loop: Any) -> TrainingConfig:
    """A regression on synthetic rows."""
    return msgspec.convert(
        {
            "name": "bench",
            "task": "regression",
            "data": {
                "sources": [f"synthetic:{rows},{FEATURES}"],
                "schema": {"features": ["x*"], "target": "y"},
                "chunk_rows": 8_192,
            },
            "model": {
                "definition": "chimera.workers.definitions.mlp:Mlp",
                "arguments": {"hidden": list(hidden), "classes": 1, "dropout": 0.0},
                "method": "logits",
            },
            "loss": {"name": "mse"},
            "loop": {"epochs": 1, "threads": 1, **loop},
            "evaluation": {"bootstrap": 0},
        },
        TrainingConfig,
    )


def loop(folder: Path, sizes: Sizes) -> Report:
    """Processor time of an update, ours and bare, in turns: after each of ours comes a bare one."""
    wanted = order(sizes.loop_rows)
    preparation.prepare(wanted, folder / "data")
    rounds = [_round(folder, f"{number}", wanted) for number in range(sizes.rounds)]
    ours, bare = ([float(np.mean(one[at])) * 1e6 for one in rounds] for at in (0, 1))
    shares = [(one / other - 1) * 100 for one, other in zip(ours, bare, strict=True)]
    return {
        "updates": len(rounds[0][0]),
        "ours_us": summary(ours),
        "bare_us": summary(bare),
        "overhead_pct": round(median(shares), 2),
        "overheads_pct": [round(one, 2) for one in shares],
    }


def _round(folder: Path, run_id: str, wanted: TrainingConfig) -> tuple[list[float], list[float]]:
    """Seconds of each update of a run, and of the bare ones that its listener has done."""
    shutil.copytree(folder / "data", folder / run_id / "data", copy_function=os.link)
    bare = _bare(wanted, preparation.opened(folder / "data").train)
    ours, beside, since = list[float](), list[float](), 0.0

    def hear(line: dict[str, Any]) -> None:
        nonlocal since
        if line["kind"] != "step":
            return
        at = time.process_time()
        next(bare)
        ours.append(at - since)
        since = time.process_time()
        beside.append(since - at)

    where = Where(runs=folder, run_id=run_id, allowed=ALLOWED)
    train(wanted, where, listeners=(hear,))
    return ours[WARM_UP:], beside[WARM_UP:]


def _bare(wanted: TrainingConfig, rows: preparation.Rows) -> Iterator[float]:
    """The same mathematics as anybody writes it: shuffle, index, forward, backward, clip, step."""
    torch.manual_seed(0)
    module = Mlp(FEATURES, HIDDEN, 1, dropout=0.0)
    module.train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    size = wanted.loop.batch_size
    all_features, all_target = np.asarray(rows.features), np.asarray(rows.target)
    order = np.random.default_rng(0).permutation(len(rows))
    for start in range(0, len(rows), size):
        chosen = order[start : start + size]
        features = torch.from_numpy(all_features[chosen])
        target = torch.from_numpy(all_target[chosen])
        loss = mse_loss(module.logits(features).squeeze(-1), target)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        yield loss.item()


def loaders(folder: Path, sizes: Sizes) -> Report:
    """Rows per second of processor time, and of the clock."""
    columns = [f"x{at}" for at in range(16)]
    frame = pd.DataFrame(np.random.default_rng(0).random((sizes.loader_rows, 16)), columns=columns)
    frame["y"] = frame.sum(axis=1)
    csv, table = folder / "rows.csv", folder / "rows.parquet"
    frame.to_csv(csv, index=False)
    frame.to_parquet(table)
    contenders: dict[str, Callable[[], int]] = {
        "csv: pandas, in chunks": lambda: _count(pd.read_csv(csv, chunksize=65_536)),
        "csv: ours, in chunks": lambda: _chunks(csv),
        "csv: ours, checked and prepared": lambda: _prepared(folder, csv),
        "parquet: pyarrow, batches to pandas": lambda: _count(
            one.to_pandas() for one in parquet.ParquetFile(table).iter_batches(65_536)
        ),
        "parquet: pandas, whole": lambda: len(pd.read_parquet(table)),
        "parquet: ours, in chunks": lambda: _chunks(table),
        "parquet: ours, checked and prepared": lambda: _prepared(folder, table),
    }
    spent: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(sizes.rounds):
        for name, work in contenders.items():
            began = time.process_time()
            if work() != sizes.loader_rows:
                raise RuntimeError(f"{name}: rows are missing")
            spent[name].append(sizes.loader_rows / (time.process_time() - began))
    return {
        "rows": sizes.loader_rows,
        "rows_s": {name: summary(one) for name, one in spent.items()},
    }


def _count(frames: Iterator[pd.DataFrame] | Any) -> int:
    return sum(len(frame) for frame in frames)


def _chunks(path: Path) -> int:
    (found,) = sources.find([str(path)])
    return sum(len(one.rows) for one in sources.chunks(found, 65_536))


def _prepared(folder: Path, path: Path) -> int:
    wanted = order(0)
    data = msgspec.structs.replace(wanted.data, sources=(str(path),), chunk_rows=65_536)
    target = folder / f"prepared-{time.monotonic_ns()}"
    found = preparation.prepare(msgspec.structs.replace(wanted, data=data), target)
    return len(found.train) + len(found.validation)


def checkpoint(folder: Path, sizes: Sizes) -> Report:
    """Of the clock: it waits for the disk."""
    found: Report = {"cadence_s": CADENCE_S}
    widths = {"small": HIDDEN, "large": (sizes.checkpoint_width,) * 4}
    for name, hidden in widths.items():
        module = Mlp(FEATURES, hidden, 1)
        optimizer = torch.optim.AdamW(module.parameters())
        torch.autograd.backward(module.logits(torch.zeros(2, FEATURES)).sum())
        optimizer.step()
        state = {"model": module.state_dict(), "optimizer": optimizer.state_dict()}
        saver = CheckpointSaver(folder / name)
        took: list[float] = []
        for number in range(sizes.rounds):
            began = time.perf_counter()
            saver.save(number, state)
            took.append((time.perf_counter() - began) * 1_000)
        newest = saver.newest()
        assert newest is not None  # it was saved
        size = sum(file.stat().st_size for file in newest.iterdir())
        share = median(took) / 1_000 / CADENCE_S * 100
        found[name] = {"bytes": size, "ms": summary(took), "share_pct": round(share, 4)}
    return found


def processes(folder: Path, sizes: Sizes) -> Report:
    """One and two processes of one thread each, in turns, by the clock."""
    wanted = order(sizes.process_rows, (1_024, 1_024), batch_size=1_024, epochs=2)
    rates: dict[int, list[float]] = {1: [], 2: []}
    for number in range(min(sizes.rounds, 3)):
        for count, found in rates.items():
            told = gang.Order(
                config=wanted,
                runs=str(folder),
                run_id=f"{count}-{number}",
                allowed=ALLOWED,
                device="cpu",
                resident_bytes=1 << 28,
            )
            lines: list[dict[str, Any]] = []
            gang.launch(told, count, listeners=(lines.append,))
            found.append(_rows_s(lines, wanted.loop.batch_size))
    one, two = (summary(found) for found in rates.values())
    pairs = [both / (2 * single) * 100 for single, both in zip(*rates.values(), strict=True)]
    return {"one_rows_s": one, "two_rows_s": two, "efficiency_pct": round(median(pairs), 1)}


def _rows_s(lines: list[dict[str, Any]], batch_size: int) -> float:
    """Median over updates: between two lines of one epoch lies one update."""
    at_ms = [(line["epoch"], line["at_ms"]) for line in lines if line["kind"] == "step"]
    epochs = {epoch for epoch, _ in at_ms}
    spans = [[at for number, at in at_ms if number == epoch] for epoch in epochs]
    updates = sum(len(span) - 1 for span in spans)
    spent_ms: float = sum(span[-1] - span[0] for span in spans)
    return batch_size * updates / spent_ms * 1_000


def memory(folder: Path, sizes: Sizes) -> Report:
    """A process of its own, with a data set ten times as large as what may be resident of it."""
    return training_memory.measure(folder, sizes.memory_limit_bytes)
