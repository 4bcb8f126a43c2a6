"""A ClickHouse at an address, over HTTP, that is killed, stays away and comes back: each row once.

Its stand-in is `clickhouse_server.py`: a server of ClickHouse's own was not run.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from confluent_kafka import Producer

from chimera.agents import warehouse as agent
from chimera.agents.warehouse import Warehouse
from chimera.agents.warehouse_metrics import WarehouseMetrics
from chimera.cli.stack.ports import free_port
from chimera.schemas.server_settings import KafkaSettings
from chimera.stores import clickhouse, inference_log, warehouse_tables
from chimera.stores.sink import Limits, Sink
from chimera.topics import clients
from tests.integration.topics import new_topic
from tests.stores.sink_records import SIZE, record

WITHIN_S = 60.0
COUNT = "SELECT count(), uniqExact(offset), max(offset) + 1 FROM chimera.inference_log"


class Server:
    """A process that is started and killed, always at the same address and with the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.dsn = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        ready = self._folder / "ready"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.integration.clickhouse_server"]
        self._process = subprocess.Popen([*command, str(self._folder), str(self._port), str(ready)])
        ends = time.monotonic() + WITHIN_S
        while not ready.exists():
            assert self._process.poll() is None and time.monotonic() < ends
            time.sleep(0.02)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path)
    found.start()
    yield found
    found.kill()


def produce(kafka: str, topic: str, numbers: range) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    for number in numbers:
        producer.produce(topic, record(0, number).value, partition=0)
    producer.flush(30)


async def until(claim: Callable[[], bool], running: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await asyncio.to_thread(claim):
            assert not running.done(), running
            await asyncio.sleep(0.02)


def test_rows_are_there_once_after_a_server_was_away(
    kafka: str, prefix: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "AGAIN_S", 0.05)
    monkeypatch.setattr(agent, "MAX_AGAIN_S", 0.2)
    asyncio.run(_away_twice(kafka, f"{prefix}inference.journal", server))


async def _away_twice(kafka: str, topic: str, server: Server) -> None:
    await new_topic(kafka, topic)
    writer = clickhouse.server(server.dsn)
    warehouse_tables.migrate(writer)
    metrics = WarehouseMetrics()
    sink = Sink(writer, inference_log.LOG, Limits(rows=2 * SIZE, seconds=0.02))
    arguments = {
        **clients.consumer_arguments(KafkaSettings(), kafka, "sink"),
        "group_id": f"{topic}.warehouse",
    }
    reader = Warehouse(topic, 1, sink, metrics, arguments)
    await reader.start()
    running = asyncio.create_task(reader.run())
    away = metrics.unavailable.labels("inference_log")
    try:
        for life in range(2):
            produce(kafka, topic, range(20 * life, 20 * life + 10))
            await until(
                lambda: rows(server) > 200 * life, running
            )  # and not all of them yet, maybe
            server.kill()
            before = away._value.get()
            produce(kafka, topic, range(20 * life + 10, 20 * life + 20))
            await until(lambda: away._value.get() >= before + 3, running)
            await asyncio.to_thread(server.start)
        await until(lambda: rows(server) == 40 * SIZE, running)
        found = await asyncio.to_thread(writer.rows, COUNT)
        assert [tuple(one) for one in found] == [(400, 400, 400)]
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await reader.stop()
