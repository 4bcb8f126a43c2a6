"""What training runs beside serving do to latency: an open loop, and runs that come and go.

    python -m benchmarks.beside [--rounds 5] [--rate 1000] [--window-s 20] [--json FILE] [--save]

A node serves a steady stream. In each round three windows take turns: `alone`; `limited`, beside a run whose
trainer has the niceness and threads that the settings give it; `unlimited`, beside one with niceness 0 and as many
threads as there are cores, which shows what the limits are worth. A run is a trainer's process as an
agent starts it, and trains until its window ends; `starting` is its time before: torch is imported, data
are prepared. A request belongs to the window in which it was due. `tests/benchmarks/test_beside.py`.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import machine, model, reports
from benchmarks.broker import Broker
from benchmarks.contenders import Contender, node
from benchmarks.trial import Trial, trial
from benchmarks.visible import Seconds, percentiles
from chimera.agents.training import process
from chimera.cli.kafka.server import EmbeddedKafka
from chimera.schemas.model_settings import TrainerSettings, TrainingSettings
from chimera.workers.training.lines import Order, Stepped

ALONE, LIMITED, UNLIMITED = "alone", "limited", "unlimited"
KEYS = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
WARM_UP_S = 60.0  # a broker that has just started compiles itself for a minute, on half a processor
POLL_S = 0.02
ROWS, FEATURES = 5_000, 64

Report = dict[str, Any]


@dataclass(frozen=True)
class Pace:
    rounds: int
    rate: float  # requests a second
    window_s: float
    start_s: float  # that a trainer may take until its first step

    @property
    def slot_s(self) -> float:
        """Of one way in one round."""
        return self.start_s + self.window_s

    @property
    def seconds(self) -> float:
        return WARM_UP_S + self.rounds * len(ways()) * self.slot_s


@dataclass(frozen=True)
class Way:
    name: str
    nice: int
    threads: int  # 0: nobody trains


@dataclass(frozen=True)
class Window:
    """Seconds on the monotonic clock: a trainer was started, it trained, it was ended."""

    way: str
    started_s: float
    begins_s: float
    ends_s: float
    rows_s: float = 0.0
    processors: float = 0.0  # that the trainer used


def ways() -> tuple[Way, ...]:
    of = TrainerSettings()
    cores = os.cpu_count() or 1
    return Way(ALONE, 0, 0), Way(LIMITED, of.nice, of.threads), Way(UNLIMITED, 0, cores)


def order(runs: Path, way: Way, number: int) -> Order:
    """An endless run of a network that keeps its threads busy."""
    config = {
        "name": "beside",
        "task": "regression",
        "data": {
            "sources": [f"synthetic:{ROWS},{FEATURES}"],
            "schema": {"features": ["x*"], "target": "y"},
        },
        "model": {
            "definition": "chimera.workers.definitions.mlp:Mlp",
            "arguments": {"hidden": [1_024, 1_024], "classes": 1, "dropout": 0.0},
            "method": "logits",
        },
        "loss": {"name": "mse"},
        "loop": {"epochs": 1_000_000, "batch_size": 512},
    }
    return process.new_order(
        config=config,
        runs_dir=str(runs),
        run_id=f"{way.name}-{number}",
        allowed=TrainingSettings().allowed,
        device="cpu",
        nice=way.nice,
        threads=way.threads,
        memory_bytes=None,
        resident_bytes=TrainingSettings().resident_bytes,
        tell_s=0.2,
    )


async def train(wanted: Order, way: Way, pace: Pace) -> Window:
    """Raises RuntimeError: the trainer ended, or made no step in time."""
    started_s = time.monotonic()
    async with process.started(wanted) as trainer:
        while not trainer.has_stepped:
            if trainer.ended.done() or time.monotonic() > started_s + pace.start_s:
                raise RuntimeError(f"no step in time: {trainer.status} {trainer.last}")
            await asyncio.sleep(POLL_S)
        begins_s, used = time.monotonic(), _used_s(trainer.pid)
        await asyncio.sleep(pace.window_s)
        ends_s, used = time.monotonic(), _used_s(trainer.pid) - used
        steps = [one for one in trainer.take() if isinstance(one, Stepped)]
    rows_s = statistics.median(one.rows_s for one in steps[len(steps) // 2 :])
    return Window(way.name, started_s, begins_s, ends_s, rows_s, used / (ends_s - begins_s))


def play(one: Trial, pace: Pace) -> Report:
    """One node, all rounds."""
    one.make_topics()
    running = one.start()
    one.await_probes(running)
    start_s = time.monotonic() + 2.0
    kept = one.place.folder / "received.npy"
    count = int(pace.rate * pace.seconds)
    loop = one.open_loop(count, start_s, pace.rate, warmup_s=WARM_UP_S, keep=kept)
    with one.sampled(running):
        windows = list(_windows(one.place.folder / "runs", start_s + WARM_UP_S, pace))
        report = loop(running)
    due_s = start_s + np.arange(count) / pace.rate
    raw = figures(windows, due_s, (np.load(kept) - due_s) * 1e3)
    return {
        "lost": report["lost"],
        "repeated": report["repeated"],
        "producer_late_ms": report["producer"]["late_ms"],
        "cpu_share": report["contender_cpu_share"],
        "ways": summary(raw),
        "raw": raw,
    }


def _windows(runs: Path, from_s: float, pace: Pace) -> Sequence[Window]:
    """Each way's turn of each round, in an order that moves on."""
    found: list[Window] = []
    for number in range(pace.rounds):
        first = number % len(ways())
        for way in (*ways()[first:], *ways()[:first]):
            slot_s = from_s + len(found) * pace.slot_s
            time.sleep(max(0.0, slot_s - time.monotonic()))
            if way.threads:
                wanted = order(runs, way, number)
                found.append(asyncio.run(train(wanted, way, pace)))
            else:
                time.sleep(pace.window_s)
                found.append(Window(way.name, slot_s, slot_s, slot_s + pace.window_s))
    return found


def figures(windows: Sequence[Window], due_s: Seconds, latency_ms: Seconds) -> list[Report]:
    """Of each window: latency while it trained, and while it started."""
    there = ~np.isnan(latency_ms)

    def between(begins_s: float, ends_s: float) -> Report:
        return percentiles(latency_ms[there & (due_s >= begins_s) & (due_s < ends_s)])

    return [
        {
            "way": one.way,
            "latency": between(one.begins_s, one.ends_s),
            "starting": between(one.started_s, one.begins_s),
            "start_s": round(one.begins_s - one.started_s, 2),
            "rows_s": round(one.rows_s),
            "processors": round(one.processors, 2),
        }
        for one in windows
    ]


def summary(raw: Sequence[Report]) -> Report:
    """Medians of each way; ratios are of the same round, so that a slow minute slows both."""
    rounds = [raw[at : at + len(ways())] for at in range(0, len(raw), len(ways()))]
    by_round = [{one["way"]: one for one in found} for found in rounds]
    found: Report = {}
    for way in ways():
        own = [one[way.name] for one in by_round]
        medians = {
            when: {key: _median(one[when].get(key) for one in own) for key in KEYS}
            for when in ("latency", "starting")
        }
        ratios = {
            key: [one[way.name]["latency"][key] / one[ALONE]["latency"][key] for one in by_round]
            for key in ("p50_ms", "p99_ms")
        }
        found[way.name] = {
            **medians,
            "ratios": {key: _median(ratios[key]) for key in ratios},
            "rows_s": _median(one["rows_s"] for one in own),
            "processors": _median(one["processors"] for one in own),
        }
    return found


def _median(values: Any) -> float | None:
    there = [value for value in values if value is not None]
    return round(statistics.median(there), 2) if there else None


def _used_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def run(pace: Pace, console: Console) -> Report:
    with tempfile.TemporaryDirectory(prefix="chimera-beside-") as folder, EmbeddedKafka() as kafka:
        broker, work = Broker(kafka.bootstrap), Path(folder)
        model.write(work / "models")
        console.print(f"{pace.seconds:.0f} s", style="dim")
        contender = Contender("exactly_once", "exactly once", node("exactly_once"), ours=True)
        with trial(broker, contender, models_dir=work / "models", work=work) as one:
            found = play(one, pace)
        head = {"kind": "beside", **asdict(pace), "limits": [asdict(way) for way in ways()]}
        return {**head, "machine": machine.describe(broker), **found}


def show(report: Report, console: Console) -> None:
    console.print(machine.headline(report["machine"]), highlight=False)
    heads = [key.removesuffix("_ms") + " ms" for key in KEYS]
    table = Table(
        "", *heads, "p50 ratio", "p99 ratio", "p99 while it starts", "rows/s", "processors"
    )
    for name, of in report["ways"].items():
        cells = [
            *(of["latency"][key] for key in KEYS),
            *of["ratios"].values(),
            of["starting"]["p99_ms"],
            of["rows_s"],
            of["processors"],
        ]
        table.add_row(name, *("" if cell is None else f"{cell:,.2f}" for cell in cells))
    console.print(table)
    console.print(f"lost {report['lost']}, repeated {report['repeated']}", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of three windows each")
    parser.add_argument("--rate", type=float, default=1_000.0, help="requests a second")
    parser.add_argument("--window-s", type=float, default=20.0, help="of each way")
    parser.add_argument("--start-s", type=float, default=40.0, help="more on a busy machine")
    reports.add_options(parser, "beside")
    given = parser.parse_args()
    pace = Pace(given.rounds, given.rate, given.window_s, given.start_s)
    report = run(pace, Console(stderr=True))
    options = f"--rounds {given.rounds} --rate {given.rate:g} --window-s {given.window_s:g}"
    reports.write(report, "beside", f"{options} --start-s {given.start_s:g}", given)
    show(report, Console())


if __name__ == "__main__":
    main()
