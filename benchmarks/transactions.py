"""One transaction by itself: a produce, an offset, the end; back to back, and at a pace.

    aiokafka         as it comes: it sleeps 20 ms, or 100 ms, when the broker asks it to try again
    aiokafka_cut     its sleeps cut to 1 and 2 ms
    ours             topics.transactions, on Kafka 4's transaction protocol

Back to back shows what a broker can take from one producer, because the markers of a transaction
are still being written when the next one begins; a pace leaves them time. Each runs in a process
of its own. CPU is for one transaction: of the client's process, and of the broker's.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import argparse
import asyncio
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import orjson
import psutil
import uvloop
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.producer import sender

from benchmarks.environments import ROOT
from benchmarks.load import percentiles
from benchmarks.sitting import Report, Sitting
from chimera.schemas.batches import encode
from chimera.schemas.headers import headers, tail
from chimera.topics.producers import Committed, Produced
from chimera.topics.transactions import TransactionalProducer

PRODUCERS = ("aiokafka", "aiokafka_cut", "ours")
PACES = (0, 50)  # transactions a second; 0: back to back
VALUE = bytes(600)
WARMUP = 20
INPUT, OUTPUT, GROUP = "in", "out", "group"

Transaction = Callable[[int], Awaitable[None]]
"""Runs the n-th transaction to its commit."""


@asynccontextmanager
async def aiokafka(
    bootstrap: str, prefix: str, records: int, *, cut: bool
) -> AsyncGenerator[Transaction]:
    if cut:
        sender.BACKOFF_OVERRIDE = 0.001
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id=f"{prefix}{GROUP}-0",
        retry_backoff_ms=2 if cut else 100,
    )
    source = TopicPartition(prefix + INPUT, 0)

    async def transaction(number: int) -> None:
        await producer.begin_transaction()
        batch: Any = producer.create_batch()
        for _ in range(records):
            batch.append(key=b"k", value=VALUE, timestamp=None)
        batch.close()
        await producer.send_batch(batch, prefix + OUTPUT, partition=0)
        await producer.send_offsets_to_transaction({source: number + 1}, prefix + GROUP)
        await producer.commit_transaction()

    async with producer:
        yield transaction


@asynccontextmanager
async def ours(bootstrap: str, prefix: str, records: int) -> AsyncGenerator[Transaction]:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    client.set_topics([prefix + INPUT, prefix + OUTPUT])
    await client.force_metadata_update()
    producer = TransactionalProducer(
        client,
        f"{prefix}{GROUP}-0",
        prefix + GROUP,
        transaction_timeout_ms=15_000,
        call_timeout_s=20,
    )
    await producer.open()
    end = tail(VALUE, 0, headers(()))

    async def transaction(number: int) -> None:
        batch = encode([b"k"] * records, [end] * records)
        produced = [Produced(prefix + OUTPUT, 0, batch)]
        await producer.commit(produced, prefix + INPUT, 0, Committed(number + 1))

    try:
        yield transaction
    finally:
        await producer.close()
        await client.close()


async def measure(transaction: Transaction, count: int, pace: float, broker: int) -> Report:
    """Latencies of `count` transactions after a warm-up; broker: its process id, 0 where unknown."""
    for number in range(WARMUP):
        await transaction(number)
    process = psutil.Process(broker) if broker else None
    client_s, broker_s = time.process_time(), _cpu_s(process)
    begins = time.monotonic()
    took_ms: list[float] = []
    for number in range(count):
        if pace:
            await asyncio.sleep(max(0.0, begins + number / pace - time.monotonic()))
        at = time.monotonic()
        await transaction(WARMUP + number)
        took_ms.append((time.monotonic() - at) * 1e3)
    found = percentiles(took_ms)
    return {
        **{f"{name}_ms": value for name, value in found.items()},
        "per_second": count / (time.monotonic() - begins),
        "client_cpu_ms": (time.process_time() - client_s) / count * 1e3,
        "broker_cpu_ms": (_cpu_s(process) - broker_s) / count * 1e3,
    }


def run(sitting: Sitting, *, count: int, records: int) -> Report:
    """Every producer at every pace, in turn, for all rounds."""
    raw: dict[tuple[str, int], list[Report]] = {}
    broker = sitting.broker.process()
    cases = list(itertools.product(PRODUCERS, PACES))
    for number in range(sitting.rounds):
        for name, pace in (*cases[number % len(cases) :], *cases[: number % len(cases)]):
            prefix = f"bench-txn-{time.time_ns()}-"
            sitting.broker.create([prefix + INPUT, prefix + OUTPUT], 1)
            sitting.say(f"round {number + 1} of {sitting.rounds}: {name}, {_pace(pace)}")
            command = [sys.executable, "-m", "benchmarks.transactions", name]
            command += ["--bootstrap", sitting.broker.bootstrap, "--prefix", prefix]
            command += ["--count", str(count), "--pace", str(pace), "--records", str(records)]
            command += ["--broker", str(broker.pid if broker else 0)]
            try:
                done = subprocess.run(
                    command, check=True, cwd=ROOT, stdout=subprocess.PIPE, timeout=300
                )
            finally:
                sitting.broker.delete(prefix)
            raw.setdefault((name, pace), []).append(orjson.loads(done.stdout))
    figures = [
        {"producer": name, "pace": _pace(pace), **_medians(found)}
        for (name, pace), found in raw.items()
    ]
    figures.sort(key=lambda one: (one["pace"], PRODUCERS.index(one["producer"])))
    listed = [
        {"producer": name, "pace": _pace(pace), "rounds": found}
        for (name, pace), found in raw.items()
    ]
    return {**sitting.head("transactions"), "records": records, "figures": figures, "raw": listed}


def _medians(found: list[Report]) -> dict[str, float]:
    return {
        name: round(float(statistics.median(one[name] for one in found)), 3) for name in found[0]
    }


def _pace(pace: int) -> str:
    return f"{pace}/s" if pace else "back to back"


def _cpu_s(process: psutil.Process | None) -> float:
    if process is None:
        return float(np.nan)
    used = process.cpu_times()
    return used.user + used.system


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("producer", choices=PRODUCERS)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--pace", type=float, default=0.0)
    parser.add_argument("--records", type=int, default=10)
    parser.add_argument("--broker", type=int, default=0)
    given = parser.parse_args()
    if given.producer == "ours":
        opened = ours(given.bootstrap, given.prefix, given.records)
    else:
        cut = given.producer == "aiokafka_cut"
        opened = aiokafka(given.bootstrap, given.prefix, given.records, cut=cut)
    async with opened as transaction:
        report = await measure(transaction, given.count, given.pace, given.broker)
    sys.stdout.buffer.write(orjson.dumps(report))


if __name__ == "__main__":
    uvloop.run(main())
