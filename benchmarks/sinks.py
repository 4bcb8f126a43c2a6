"""The sink from Kafka to rows that can be asked for: rows/s, bytes a row, and how late a row is.

A backlog of segments, as a busy node writes them, is read by a warehouse process into the embedded
engine; it is done when a reader counts all of them. Then segments come one after the other at a rate of
requests, and each row's delay is from the broker's append to the answer that has it, asked over HTTP.
Processor time is the warehouse's own: a share of a busy machine is no speed of ours, so rows per
second of one core stand beside rows/s.
"""

import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
from confluent_kafka import Producer

from benchmarks import machine
from benchmarks.broker import QUIET, Broker
from benchmarks.sitting import Sitting
from chimera.schemas.columns import constant, numbers
from chimera.schemas.journal import SegmentHead, encode_segment, framed
from chimera.schemas.journal_rows import (
    COMMITMENT_BYTES,
    NO_SLACK,
    OK,
    PART_ROWS,
    Group,
    Rows,
    write_part,
)

PARTITIONS = 2
PARTS_OF_A_SEGMENT = 8  # a window of 4,096 requests
_WITHIN_S = 300.0


def run(sitting: Sitting, *, rows: int, rate: float, seconds: float) -> dict[str, Any]:
    """One warehouse for each round's backlog; the last also reads the steady rate."""
    speeds: list[dict[str, float]] = []
    sizes: dict[str, float] = {}
    delays: dict[str, float] = {}
    for number in range(sitting.rounds):
        sitting.say(f"round {number + 1} of {sitting.rounds}: {rows:,} rows")
        trial = _Trial(sitting, number)
        speeds.append(trial.backlog(rows))
        with trial.warehouse():
            trial.until_visible(rows)
            sizes = trial.bytes_a_row()
            if number == sitting.rounds - 1:
                sitting.say(f"{rate:.0f} requests/s for {seconds:.0f} s")
                delays = trial.delays(rate, seconds)
        trial.end()
    ranked = sorted(speeds, key=lambda one: one["rows_per_s"])
    report = {
        "kind": "sinks",
        "rounds": sitting.rounds,
        "machine": machine.describe(sitting.broker),
    }
    return {
        **report,
        "rows": rows,
        "backlog": ranked[len(ranked) // 2],
        "bytes_a_row": sizes,
        "visible_ms": delays,
        "rate": rate,
    }


class _Trial:
    """One prefix, one folder."""

    def __init__(self, sitting: Sitting, number: int) -> None:
        self._broker: Broker = sitting.broker
        self._prefix = f"sinks{os.getpid()}-{number}."
        self._folder = sitting.work / f"warehouse-{number}"
        self._folder.mkdir()
        self._producer = Producer({"bootstrap.servers": self._broker.bootstrap, **QUIET})
        self._next = [0] * PARTITIONS
        self._env = os.environ | {
            "CHIMERA_KAFKA__BOOTSTRAP": self._broker.bootstrap,
            "CHIMERA_KAFKA__TOPIC_PREFIX": self._prefix,
            "CHIMERA_KAFKA__GROUP": self._prefix,
            "CHIMERA_KAFKA__PARTITIONS": str(PARTITIONS),
            "CHIMERA_CLICKHOUSE__DIR": str(self._folder / "clickhouse"),
            "CHIMERA_CLICKHOUSE__HTTP_PORT": "0",
        }
        command = [sys.executable, "-m", "chimera.cli", "topics", "sync", "--apply"]
        subprocess.run(command, env=self._env, check=True, stdout=subprocess.DEVNULL)

    def end(self) -> None:
        self._broker.delete(self._prefix)

    def backlog(self, rows: int) -> dict[str, float]:
        """Written first, then read by a warehouse of its own, which ends."""
        size = PART_ROWS * PARTS_OF_A_SEGMENT
        for number in range(-(-rows // size)):
            self._produce(number % PARTITIONS, min(size, rows - number * size))
        self._producer.flush(60)
        with self.warehouse() as process:
            began, before = time.monotonic(), process.cpu_times()
            self.until_visible(rows)
            took_s = time.monotonic() - began
            after = process.cpu_times()
        cpu_s = after.user + after.system - before.user - before.system
        return {
            "rows_per_s": rows / took_s,
            "rows_per_cpu_s": rows / cpu_s,
            "cpu_us_a_row": cpu_s / rows * 1e6,
            "seconds": took_s,
        }

    @contextmanager
    def warehouse(self) -> Generator[psutil.Process]:
        """One that serves; its backlog it only begins to read."""
        ready = self._folder / "ready"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "chimera.cli", "warehouse", "--ready-file", str(ready)]
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(command, env=self._env, stdout=log, stderr=log)
            try:
                _until(ready.exists)
                yield psutil.Process(process.pid)
            finally:
                process.terminate()
                process.wait(60)

    def until_visible(self, rows: int) -> None:
        _until(lambda: int(self.ask("SELECT count() FROM inference_log")) >= rows)

    def bytes_a_row(self) -> dict[str, float]:
        told = self.ask(
            "SELECT table, sum(bytes_on_disk) / sum(rows) FROM system.parts"
            " WHERE active AND database = 'chimera' GROUP BY table HAVING sum(rows) > 1000"
        )
        pairs = (line.split("\t") for line in told.splitlines())
        return {table: round(float(size), 1) for table, size in pairs}

    def delays(self, rate: float, seconds: float) -> dict[str, float]:
        """Windows of a fortieth of a second; of each, when an answer first has its last row."""
        size = max(1, round(rate / 40))
        count = round(rate * seconds / size)
        waiting = {self._next[0] + (number + 1) * size: 0.0 for number in range(count)}
        late: list[float] = []
        began = time.monotonic()
        writer = threading.Thread(target=self._write_steadily, args=(waiting, size, rate, began))
        writer.start()
        sql = "SELECT max(offset) + 1 FROM inference_log WHERE journal_partition = 0"
        while waiting or writer.is_alive():
            seen, now = int(self.ask(sql)), time.monotonic()
            there = [end for end, sent in waiting.items() if sent and end <= seen]
            late.extend(now - waiting.pop(end) for end in there)
            if now > began + seconds + _WITHIN_S:
                raise TimeoutError(f"{len(waiting)} windows were not seen")
            time.sleep(0.02)
        writer.join()
        p50, p99 = np.quantile(late, (0.5, 0.99))
        return {
            "p50": round(float(p50) * 1000),
            "p99": round(float(p99) * 1000),
            "max": round(max(late) * 1000),
        }

    def _write_steadily(self, sent: dict[int, float], size: int, rate: float, began: float) -> None:
        for number, end in enumerate(list(sent)):
            time.sleep(max(0.0, began + number * size / rate - time.monotonic()))
            self._produce(0, size)
            self._producer.flush(30)
            sent[end] = time.monotonic()

    def ask(self, sql: str) -> str:
        address = (self._folder / "clickhouse" / "http").read_text("utf-8")
        with urllib.request.urlopen(address, sql.encode(), timeout=60) as answer:
            return str(answer.read().decode()).strip()

    def _produce(self, partition: int, rows: int) -> None:
        start = self._next[partition]
        self._next[partition] += rows
        value = segment(partition, start, rows)
        topic = f"{self._prefix}inference.journal"
        self._producer.produce(topic, value, partition=partition)
        self._producer.poll(0)


def segment(partition: int, start: int, rows: int) -> bytes:
    """A window as a node commits it: parts of one block each, with times, ids and commitments of their own."""
    parts = [
        _part(start + at, min(PART_ROWS, rows - at), start // PART_ROWS)
        for at in range(0, rows, PART_ROWS)
    ]
    head = SegmentHead(
        topic="inference.requests",
        partition=partition,
        start=start,
        next=start + rows,
        guarantee="exactly_once",
        node="bench:1",
    )
    return encode_segment(head, [framed(part) for part in parts])


def _part(start: int, rows: int, seed: int) -> bytes:
    made = np.random.default_rng(seed)
    story = (256, 900, int(made.integers(500, 5_000)), int(made.integers(2_000, 9_000)))
    group = Group("default", "digits", "1", "d" * 64, "onnx-cpu", "cpu:0", *story, "c" * 32)
    now_ms = time.time_ns() // 1_000_000
    return write_part(
        Rows(
            (group,),
            (OK,),
            numbers(range(start, start + rows)),
            constant(0, rows),
            constant(0, rows),
            now_ms - np.sort(made.integers(0, 50, rows))[::-1],
            made.integers(1_290, 1_310, rows),
            made.integers(240, 260, rows),
            constant(NO_SLACK, rows),
            constant(0, rows),
            [b"request-%d" % at for at in range(start, start + rows)],
            input_commitments=made.bytes(COMMITMENT_BYTES * rows),
            output_commitments=made.bytes(COMMITMENT_BYTES * rows),
        )
    )


def _until(claim: Any) -> None:
    ends = time.monotonic() + _WITHIN_S
    while not claim():
        if time.monotonic() > ends:
            raise TimeoutError("the warehouse did not get there")
        time.sleep(0.2)  # asking costs the engine, too
