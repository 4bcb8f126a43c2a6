"""Two warehouses on one server, which take the table from each other again and again: each row once.

Two on one folder: one has it, and the other takes over. The former cut batches of different sizes, so that a row would be there twice if both had inserted it.
"""

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chimera.agents.warehouse import Warehouse
from chimera.agents.warehouse_metrics import WarehouseMetrics
from chimera.cli.stack import locks
from chimera.cli.stack.spare import Spare
from chimera.cli.stack.stack import sync_topics
from chimera.schemas.server_settings import KafkaSettings
from chimera.schemas.settings import load
from chimera.stores import clickhouse, inference_log, warehouse_tables
from chimera.stores.sink import Limits, Sink
from chimera.topics.producers import ProducerError
from tests.forks import FORKS
from tests.integration.clickhouse_at import COUNTS, Server
from tests.integration.test_warehouse import environment
from tests.integration.topics import new_topic, produce, topic_of
from tests.stores.sink_records import SIZE

WITHIN_S = 120.0
SEGMENTS = 20  # of each round
TAKEN_OVER = 4
LIVES = "SELECT max(life), uniqExact(life) FROM chimera.sink_batches WHERE token != ''"


def compete(dsn: str, kafka: str, topic: str, segments: int) -> None:
    """A process that is started again whenever the other one has taken over, and takes it back."""
    asyncio.run(_compete(dsn, KafkaSettings(bootstrap=kafka, group=topic), topic, segments))


async def _compete(dsn: str, kafka: KafkaSettings, topic: str, segments: int) -> None:
    limits = Limits(rows=segments * SIZE, seconds=0.02)
    while True:
        sink = Sink(clickhouse.server(dsn), inference_log.LOG, limits)
        reader = Warehouse(topic_of(topic), sink, WarehouseMetrics(), kafka)
        try:
            await reader.start()
            await reader.run()
        except ProducerError:
            await asyncio.sleep(random.uniform(0.05, 0.5))
        finally:
            await reader.stop()


def test_two_that_take_over_from_each_other_leave_each_row_once(
    kafka: str, prefix: str, clickhouse_at: Server
) -> None:
    topic = asyncio.run(new_topic(kafka, f"{prefix}inference.journal"))
    reader = clickhouse.server(clickhouse_at.dsn)
    warehouse_tables.migrate(reader)
    both = [
        FORKS.Process(target=compete, args=(clickhouse_at.dsn, kafka, topic, segments))
        for segments in (2, 3)
    ]
    for process in both:
        process.start()
    try:
        written, ends, lives = 0, time.monotonic() + WITHIN_S, 0
        while lives < TAKEN_OVER:
            produce(kafka, topic, range(written, written + SEGMENTS))
            written += SEGMENTS
            while (found := reader.rows(COUNTS)[0])[2] < written * SIZE:
                assert found[0] == found[1]
                assert time.monotonic() < ends and all(process.is_alive() for process in both)
                time.sleep(0.02)
            lives = reader.rows(LIVES)[0][1]  # that decided something
    finally:
        for process in both:
            process.kill()
            process.join()
    rows = written * SIZE
    assert tuple(reader.rows(COUNTS)[0]) == (rows, rows, rows)


def beside(name: str, folder: Path) -> Spare:
    """A warehouse as `chimera up` has one."""
    ready = folder / f"{name}.ready"
    command = [sys.executable, "-m", "chimera.cli", "warehouse", "--ready-file", str(ready)]
    return Spare(name, command, ready)


def watch(spare: Spare, until: Callable[[], bool]) -> None:
    ends = time.monotonic() + WITHIN_S
    while not until():
        spare.watch()
        assert not spare.state.failed and time.monotonic() < ends
        time.sleep(0.05)


def test_folder_that_is_held_is_taken_once_its_holder_is_gone(
    kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First a command that reads has the folder, then another warehouse, which is killed."""
    for name, value in environment(kafka, prefix, tmp_path).items():
        monkeypatch.setenv(name, value)
    asyncio.run(sync_topics(load(), kafka, change=True))
    folder = tmp_path / "clickhouse"
    folder.mkdir()
    reading = locks.take(folder / "lock")
    assert reading is not None
    first = beside("first", tmp_path)
    second: Spare | None = None
    try:
        watch(first, lambda: first.state.restarts > 0)
        assert first.is_settled  # `chimera up` waits for nobody
        os.close(reading)
        watch(first, lambda: first.state.ready)
        second = standby = beside("second", tmp_path)
        watch(standby, lambda: standby.state.restarts > 0)
        first.process.stop(0)
        watch(standby, lambda: standby.state.ready)
        assert locks.holder(folder / "lock") == standby.state.pid
    finally:
        for one in (first, second):
            if one is not None:
                one.process.stop(0)
