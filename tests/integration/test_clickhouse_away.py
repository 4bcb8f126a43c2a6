"""A ClickHouse at an address, over HTTP, that is killed, stays away and comes back: each row once.

Its stand-in is `clickhouse_server.py`: a server of ClickHouse's own was not run.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from confluent_kafka import Producer

from chimera.agents import warehouse as agent
from chimera.agents.warehouse import Warehouse
from chimera.agents.warehouse_metrics import WarehouseMetrics
from chimera.cli.stack.ports import free_port
from chimera.schemas.errors import ClickHouseUnavailable
from chimera.schemas.server_settings import KafkaSettings
from chimera.stores import clickhouse, inference_log, warehouse_tables
from chimera.stores.clickhouse import ClickHouse
from chimera.stores.sink import Limits, Sink
from chimera.topics import clients
from tests.integration.topics import new_topic
from tests.stores.sink_records import SIZE, record

WITHIN_S = 60.0
LIVES = 2
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


async def until(
    claim: Callable[[Sequence[int]], bool], writer: ClickHouse, reader: "asyncio.Task[None]"
) -> None:
    """Until the counts are so; whoever reads must not end meanwhile."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            assert not reader.done(), reader
            with suppress(ClickHouseUnavailable):
                ((rows, distinct, size),) = await asyncio.to_thread(writer.rows, COUNT)
                if claim((rows, distinct, size)):
                    return
            await asyncio.sleep(0.05)


async def until_missed(metrics: WarehouseMetrics, times: int) -> None:
    """ClickHouse did not answer so often."""
    labels = {"table": "inference_log"}
    async with asyncio.timeout(WITHIN_S):
        while True:
            found = metrics.registry.get_sample_value("chimera_sink_unavailable_total", labels)
            if (found or 0) >= times:
                return
            await asyncio.sleep(0.02)


def test_rows_are_there_once_after_a_server_was_away_twice(
    kafka: str, prefix: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "AGAIN_S", 0.05)
    monkeypatch.setattr(agent, "MAX_AGAIN_S", 0.2)

    async def run() -> None:
        topic = await new_topic(kafka, f"{prefix}inference.journal")
        writer, metrics = clickhouse.server(server.dsn), WarehouseMetrics()
        warehouse_tables.migrate(writer)
        sink = Sink(writer, inference_log.LOG, Limits(rows=2 * SIZE, seconds=0.02))
        where = clients.consumer_arguments(KafkaSettings(), kafka, "sink")
        reader = Warehouse(topic, 1, sink, metrics, {**where, "group_id": f"{prefix}warehouse"})
        await reader.start()
        reading = asyncio.create_task(reader.run())
        try:
            await gone_through(kafka, topic, server, (writer, metrics, reading))
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            await reader.stop()

    asyncio.run(run())


async def gone_through(
    kafka: str,
    topic: str,
    server: Server,
    watched: "tuple[ClickHouse, WarehouseMetrics, asyncio.Task[None]]",
) -> None:
    writer, metrics, reading = watched
    for life in range(LIVES):
        produce(kafka, topic, range(20 * life, 20 * life + 10))
        some = 200 * life  # of this life at least one: the server dies between INSERTs, or in one
        await until(lambda found, some=some: found[0] > some, writer, reading)  # type: ignore[misc]  # bound at once
        server.kill()
        produce(kafka, topic, range(20 * life + 10, 20 * life + 20))
        await until_missed(metrics, 3 * (life + 1))
        await asyncio.to_thread(server.start)
        whole = 200 * (life + 1)
        await until(lambda found, n=whole: list(found) == [n, n, n], writer, reading)  # type: ignore[misc]  # bound at once
