"""What a pool of executors does by itself, without Kafka: requests a second, CPU, memory, latency.

`python -m benchmarks.executors [--executors 1] [--requests 500000]` feeds works of 512 requests of
1.3 kB from four lanes, as many as are in flight in a node, then single requests one after the
other. CPU is of one request: decoded, computed, encoded with all headers, both ways over the socket.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import orjson
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import model
from chimera.schemas.serving_settings import ServingSettings
from chimera.schemas.settings import Settings
from chimera.schemas.work import Block, Deferred, Outcomes, Results, Work
from chimera.workers.pool import Pool
from chimera.workers.reports import Report

RUN = 512
LANES = 4
IN_FLIGHT = 4 * RUN  # of one lane
SINGLES = 2_000
TOPIC = "inference.requests"


class Feed:
    """Keeps lanes full until `total` requests are answered."""

    def __init__(self, settings: Settings) -> None:
        self.pool = Pool(settings, self)
        self._values = _requests()
        self._left = self._missing = 0
        self._lanes: dict[int, int] = {}
        self._done = asyncio.Event()

    async def flood(self, total: int) -> float:
        """Answer `total` requests as fast as it goes; returns the seconds."""
        self._left = self._missing = total
        self._done.clear()
        self._lanes = dict.fromkeys(range(LANES), 0)
        started = time.perf_counter()
        for lane in range(LANES):
            self._fill(lane)
        await self._done.wait()
        return time.perf_counter() - started

    async def single(self, at: int) -> float:
        """Answer one request; returns the seconds."""
        self._left, self._missing = 0, 1
        self._done.clear()
        started = time.perf_counter()
        self.pool.submit(_work(0, at, self._values[:1]))
        await self._done.wait()
        return time.perf_counter() - started

    def _fill(self, lane: int) -> None:
        while self._left and self._lanes[lane] < IN_FLIGHT:
            count = min(RUN, self._left)
            self.pool.submit(_work(lane, 10**9 - self._left, self._values[:count]))
            self._left -= count
            self._lanes[lane] += count

    def take_outcomes(self, outcomes: Outcomes) -> None:
        if any(outcomes.codes):
            raise RuntimeError(f"an error among answers: {outcomes.bodies[0]!r}")
        self._missing -= len(outcomes.offsets)
        if self._left:
            self._lanes[outcomes.lane] -= len(outcomes.offsets)
            self._fill(outcomes.lane)
        if self._missing <= 0:
            self._done.set()

    def take_results(self, results: Results) -> None:
        raise RuntimeError("no block was submitted")

    def take_unread(self, block: Block, accused: Collection[int]) -> None:
        raise RuntimeError("no block was submitted")

    def take_deferred(self, deferred: Deferred) -> None:
        raise RuntimeError(f"nothing is paused, and {deferred.model} came back")

    def take_death(self, reason: str) -> None:
        """What it had in hand raises."""

    def take_report(self, report: Report) -> None:
        """Nobody asks."""

    def take_suspects(self, lane: int, offsets: list[int], reason: str) -> None:
        raise RuntimeError(f"lane {lane}: {len(offsets)} requests, executor {reason}")


async def measure(executors: int, requests: int) -> Table:
    """One table: a row for each round of the flood, and one for the single requests."""
    table = Table("what", "requests/s", "executor CPU us", "feeder CPU us", "executor MB")
    with tempfile.TemporaryDirectory() as folder:
        model.write(Path(folder))
        serving = ServingSettings(models_dir=Path(folder), executors=executors, devices=("cpu",))
        feed = Feed(Settings(serving=serving))
        await feed.pool.start()
        try:
            while len(feed.pool.executors) < executors:  # noqa: ASYNC110  # a pool tells of the first
                await asyncio.sleep(0.05)
            processes = [psutil.Process(one.pid) for one in feed.pool.executors]
            await feed.flood(20 * RUN)
            for _ in range(3):
                cpu, own = _cpu_s(processes), time.process_time()
                seconds = await feed.flood(requests)
                table.add_row(
                    f"{requests:,} requests, {executors} executor(s)",
                    f"{requests / seconds:,.0f}",
                    f"{(_cpu_s(processes) - cpu) / requests * 1e6:.1f}",
                    f"{(time.process_time() - own) / requests * 1e6:.1f}",
                    " ".join(f"{one.memory_info().rss / 1e6:.0f}" for one in processes),
                )
            times = [await feed.single(at) for at in range(SINGLES)]
            cuts = statistics.quantiles(times, n=100)
            table.caption = (
                f"one request by itself: p50 {cuts[49] * 1e3:.2f}, p99 {cuts[98] * 1e3:.2f} ms"
            )
        finally:
            await feed.pool.stop()
    return table


def _work(lane: int, start: int, values: Sequence[bytes]) -> Work:
    count = len(values)
    return Work(
        lane,
        TOPIC,
        lane,
        list(range(start, start + count)),
        list(values),
        [-1] * count,
        [0] * count,
        {},
        time.monotonic_ns(),
    )


def _requests() -> list[bytes]:
    rows = np.random.default_rng(0).random((RUN, model.LAYERS[0]), dtype=np.float32)
    tensors = [
        {"name": "x", "shape": [1, row.size], "datatype": "FP32", "data": row.tolist()}
        for row in rows
    ]
    return [
        orjson.dumps({"id": str(at), "model_name": model.NAME, "inputs": [tensor]})
        for at, tensor in enumerate(tensors)
    ]


def _cpu_s(processes: Sequence[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executors", type=int, default=1)
    parser.add_argument("--requests", type=int, default=500_000)
    arguments = parser.parse_args()
    Console().print(uvloop.run(measure(arguments.executors, arguments.requests)))


if __name__ == "__main__":
    main()
