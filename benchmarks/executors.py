"""What a pool of executors does by itself, without Kafka: requests a second, CPU, memory, latency.

`python -m benchmarks.executors [--executors 1] [--requests 500000] [--rounds 5]` feeds blocks as a
broker stores them, of 757 requests of 1.3 kB (what fits into a MiB), from four lanes, as many as are
in flight in a node; then single requests one after the other. CPU is of one request: read, computed,
encoded with all headers, both ways over the socket. Three pools take turns: one without a journal, one
that writes a row a request, and one whose rows commit to request and result.
"""

import argparse
import asyncio
import secrets
import statistics
import tempfile
import time
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import numpy as np
import orjson
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import model
from chimera.schemas import headers
from chimera.schemas.batches import encode
from chimera.schemas.commitments import KEY_BYTES
from chimera.schemas.history_settings import JournalSettings
from chimera.schemas.serving_settings import ServingSettings
from chimera.schemas.settings import Settings
from chimera.schemas.work import Block, Deferred, Outcomes, Results, Work
from chimera.workers.pool import Pool
from chimera.workers.reports import Report

RUN = 757
LANES = 4
IN_FLIGHT = 4 * RUN  # of one lane
SINGLES = 2_000
TOPIC = "inference.requests"
OFFSET_BYTES = 8  # of a record batch, before all else
WAYS = ("no journal", "journal", "journal, commits")


class Feed:
    """Keeps lanes full until `total` requests are answered."""

    def __init__(self, settings: Settings) -> None:
        self.pool = Pool(settings, self)
        self._values = _requests()
        self._stored = _stored(self._values)
        self._left = self._missing = 0
        self._lanes: dict[int, int] = {}
        self._done = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.pool.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pool.stop()

    async def processes(self, count: int) -> list[psutil.Process]:
        """Those of its executors, when so many are there."""
        while len(self.pool.executors) < count:  # noqa: ASYNC110  # a pool tells of the first
            await asyncio.sleep(0.05)
        return [psutil.Process(one.pid) for one in self.pool.executors]

    async def flood(self, blocks: int) -> float:
        """Answer so many blocks as fast as it goes; returns the seconds."""
        self._left = self._missing = blocks * RUN
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
        self.pool.submit(_work(0, at, self._values[0]))
        await self._done.wait()
        return time.perf_counter() - started

    def _fill(self, lane: int) -> None:
        while self._left and self._lanes[lane] < IN_FLIGHT:
            self.pool.submit_block(_block(lane, 10**9 - self._left, self._stored))
            self._left -= RUN
            self._lanes[lane] += RUN

    def take_results(self, results: Results) -> None:
        self._take(results.lane, results.count)

    def take_outcomes(self, outcomes: Outcomes) -> None:
        if any(outcomes.codes):
            raise RuntimeError(f"an error among answers: {outcomes.bodies[0]!r}")
        self._take(outcomes.lane, len(outcomes.offsets))

    def _take(self, lane: int, count: int) -> None:
        self._missing -= count
        if self._left:
            self._lanes[lane] -= count
            self._fill(lane)
        if self._missing <= 0:
            self._done.set()

    def take_unread(self, block: Block, accused: Collection[int]) -> None:
        raise RuntimeError("a block of plain requests came back")

    def take_deferred(self, deferred: Deferred) -> None:
        raise RuntimeError(f"nothing is paused, and {deferred.model} came back")

    def take_death(self, reason: str) -> None:
        """What it had in hand raises."""

    def take_report(self, report: Report) -> None:
        """Nobody asks."""

    def take_suspects(self, lane: int, offsets: list[int], reason: str) -> None:
        raise RuntimeError(f"lane {lane}: {len(offsets)} requests, executor {reason}")


async def measure(executors: int, requests: int, rounds: int) -> Table:
    """A row for each way, medians of the rounds; under the table, the single requests."""
    blocks = -(-requests // RUN)
    table = Table("what", "requests/s", "executor CPU us", "feeder CPU us", "executor MB")
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model.write(folder / "models")
        feeds = [await stack.enter_async_context(Feed(one)) for one in _ways(folder, executors)]
        processes = [await feed.processes(executors) for feed in feeds]
        for feed in feeds:
            await feed.flood(20)
        taken: list[list[tuple[float, float, float]]] = [[] for _ in WAYS]
        for number in range(rounds * len(WAYS)):
            way = (number + number // len(WAYS)) % len(WAYS)  # nobody always follows the same one
            before = _cpu_s(processes[way]), time.process_time()
            seconds = await feeds[way].flood(blocks)
            after = _cpu_s(processes[way]), time.process_time()
            taken[way].append((seconds, after[0] - before[0], after[1] - before[1]))
        for way, its in enumerate(processes):
            seconds, used, own = (
                statistics.median(column) for column in zip(*taken[way], strict=True)
            )
            table.add_row(
                f"{blocks * RUN:,} requests, {executors} executor(s), {WAYS[way]}",
                f"{blocks * RUN / seconds:,.0f}",
                f"{used / (blocks * RUN) * 1e6:.2f}",
                f"{own / (blocks * RUN) * 1e6:.2f}",
                " ".join(f"{one.memory_info().rss / 1e6:.0f}" for one in its),
            )
        times = [await feeds[0].single(at) for at in range(SINGLES)]
    cuts = statistics.quantiles(times, n=100)
    table.caption = f"one request by itself: p50 {cuts[49] * 1e3:.2f}, p99 {cuts[98] * 1e3:.2f} ms"
    return table


def _ways(folder: Path, executors: int) -> list[Settings]:
    key = folder / "keys" / "default.key"
    key.parent.mkdir()
    key.write_bytes(secrets.token_bytes(KEY_BYTES))
    key.chmod(0o600)
    serving = ServingSettings(models_dir=folder / "models", executors=executors, devices=("cpu",))
    journals = (
        JournalSettings(),
        JournalSettings(enabled=True, keys_dir=folder / "none"),
        JournalSettings(enabled=True, keys_dir=key.parent),
    )
    return [Settings(serving=serving, journal=one) for one in journals]


def _stored(values: Sequence[bytes]) -> bytes:
    """As a broker has them, but for the first offset."""
    keys = [b"k%d" % at for at in range(len(values))]
    sent = encode(keys, [headers.tail(value, 0, b"") for value in values])
    return sent.sent_by(-1, -1, -1, transactional=False)[OFFSET_BYTES:]


def _block(lane: int, start: int, stored: bytes) -> Block:
    raw = start.to_bytes(OFFSET_BYTES, "big") + stored
    return Block(lane, TOPIC, lane, start, start + RUN, RUN, 0, raw, time.monotonic_ns())


def _work(lane: int, at: int, value: bytes) -> Work:
    return Work(lane, TOPIC, lane, [at], [value], [-1], [0], {}, time.monotonic_ns())


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
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    Console().print(uvloop.run(measure(given.executors, given.requests, given.rounds)))


if __name__ == "__main__":
    main()
