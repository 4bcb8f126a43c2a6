"""The sink from Kafka to rows that can be asked for: rows/s, bytes a row, and how late a row is.

A backlog of segments, as a busy node writes them, is read by a warehouse process into the embedded
engine; it is done when a reader counts all of them. Rows of a tenant with a key have commitments, which
are 64 random bytes each; those of one without have none: both have turns, and the spine's exactly once
beside them (`spine`). Then segments come one after the other at a rate of requests, and each row's delay
is from the broker's append to the answer that has it, asked over HTTP. Processor time is the warehouse's
own: a share of a busy machine is no speed of ours, so rows per second of one core stand beside rows/s.
`tests/benchmarks/test_spine.py`.
"""

import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
from confluent_kafka import Producer

from benchmarks import spine
from benchmarks.broker import QUIET
from benchmarks.contenders import Contender, our_settings
from benchmarks.sitting import Report, Sitting
from benchmarks.trial import Trial
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
KEYED, PLAIN = "sink, commitments", "sink, no commitments"
_WITHIN_S = 300.0


def run(
    sitting: Sitting,
    *,
    rows: int,
    requests: int,
    executors: int,
    rate: float,
    seconds: float,
) -> Report:
    """A backlog of rows for each way in each round; the last round also has their size and delay."""
    sinks = [
        Contender(
            name, "exactly once", lambda _: [], ours=True, answers=False, partitions=PARTITIONS
        )
        for name in (KEYED, PLAIN)
    ]
    played: Counter[str] = Counter()
    sizes: dict[str, dict[str, float]] = {}
    delays: dict[str, float] = {}

    def one(trial: Trial) -> Report:
        name = trial.contender.name
        played[name] += 1
        sink = _Sink(trial, has_key=name == KEYED)
        found = sink.backlog(rows)
        sitting.say(f"{name}: {found['rows_per_s']:,.0f} rows/s")
        if played[name] == sitting.rounds:
            with sink.warehouse():
                sink.until_visible(rows)
                sizes[name] = sink.bytes_a_row()
                if name == KEYED:
                    sitting.say(f"{rate:.0f} requests/s for {seconds:.0f} s")
                    delays.update(sink.delays(rate, seconds))
        return found

    reports, beside = spine.beside(
        sitting,
        sinks,
        one,
        rate="rows_per_s",
        guarantees=["exactly_once"],
        requests=requests,
        executors=executors,
    )
    return {
        **sitting.head("sinks"),
        "rows": rows,
        "backlog": _middle(reports[KEYED]),
        "backlog_no_commitments": _middle(reports[PLAIN]),
        "bytes_a_row": sizes[KEYED],
        "bytes_a_row_no_commitments": sizes[PLAIN],
        "visible_ms": delays,
        "rate": rate,
        **beside,
    }


def _middle(found: list[Report]) -> Report:
    """The round whose rows/s are the median."""
    rate = statistics.median_low(one["rows_per_s"] for one in found)
    return next(one for one in found if one["rows_per_s"] == rate)


class _Sink:
    """The topics of one trial, and its folder."""

    def __init__(self, trial: Trial, *, has_key: bool) -> None:
        self._has_key = has_key
        self._folder = trial.place.folder
        self._topic = f"{trial.place.prefix}inference.journal"
        self._producer = Producer({"bootstrap.servers": trial.place.bootstrap, **QUIET})
        self._next = [0] * PARTITIONS
        self._env = os.environ | our_settings(trial.place)
        self._env["CHIMERA_CLICKHOUSE__DIR"] = str(self._folder / "clickhouse")
        self._env["CHIMERA_CLICKHOUSE__HTTP_PORT"] = "0"
        trial.make_topics()

    def backlog(self, rows: int) -> Report:
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
        used_s = after.user + after.system - before.user - before.system
        cpu_s = max(used_s, 0.01)  # the kernel counts no less
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
        value = segment(partition, start, rows, has_key=self._has_key)
        self._producer.produce(self._topic, value, partition=partition)
        self._producer.poll(0)


def segment(partition: int, start: int, rows: int, *, has_key: bool) -> bytes:
    """A window as a node commits it: parts of one block each, with times, ids and commitments of their own.

    `has_key`: of a tenant that has one; rows of another's have no commitments.
    """
    parts = [
        _part(start + at, min(PART_ROWS, rows - at), start // PART_ROWS, has_key=has_key)
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


def _part(start: int, rows: int, seed: int, *, has_key: bool) -> bytes:
    made = np.random.default_rng(seed)
    story = (256, 900, int(made.integers(500, 5_000)), int(made.integers(2_000, 9_000)))
    key = "c" * 32 if has_key else ""
    commitments = made.bytes(2 * COMMITMENT_BYTES * rows) if has_key else b""
    half = len(commitments) // 2
    group = Group("default", "digits", "1", "d" * 64, "onnx-cpu", "cpu:0", *story, key)
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
            input_commitments=commitments[:half],
            output_commitments=commitments[half:],
        )
    )


def _until(claim: Any) -> None:
    ends = time.monotonic() + _WITHIN_S
    while not claim():
        if time.monotonic() > ends:
            raise TimeoutError("the warehouse did not get there")
        time.sleep(0.2)  # asking costs the engine, too
