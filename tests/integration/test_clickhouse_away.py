"""A ClickHouse at an address, over HTTP, that is not there yet, or is killed and comes back: each row once.

Its stand-in is `clickhouse_server.py`: a server of ClickHouse's own was not run.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from chimera.agents import warehouse as agent
from chimera.agents.warehouse import Warehouse
from chimera.agents.warehouse_metrics import WarehouseMetrics
from chimera.cli.main import app
from chimera.cli.stack.supervised import Supervised
from chimera.schemas.errors import ClickHouseRefused, ClickHouseUnavailable
from chimera.schemas.server_settings import KafkaSettings
from chimera.stores import clickhouse, inference_log, warehouse_tables
from chimera.stores.clickhouse import ClickHouse
from chimera.stores.sink import Limits, Sink
from tests.agents.sequencing.places import Place, play, settings_of
from tests.integration.clickhouse_at import COUNTS, Server
from tests.integration.topics import new_topic, produce, topic_of
from tests.stores.sink_records import SIZE

WITHIN_S = 60.0
LIVES = 2


async def until(
    claim: Callable[[Sequence[int]], bool], writer: ClickHouse, reader: "asyncio.Task[None]"
) -> None:
    """Until the counts are so; whoever reads must not end meanwhile."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            assert not reader.done(), reader
            with suppress(ClickHouseUnavailable):
                ((rows, distinct, size),) = await asyncio.to_thread(writer.rows, COUNTS)
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
    kafka: str, prefix: str, clickhouse_at: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "AGAIN_S", 0.05)
    monkeypatch.setattr(agent, "MAX_AGAIN_S", 0.2)

    async def run() -> Sequence[int]:
        topic = await new_topic(kafka, f"{prefix}inference.journal")
        writer, metrics = clickhouse.server(clickhouse_at.dsn), WarehouseMetrics()
        warehouse_tables.migrate(writer)
        sink = Sink(writer, inference_log.LOG, Limits(rows=2 * SIZE, seconds=0.02))
        settings = KafkaSettings(bootstrap=kafka, group=prefix)
        reader = Warehouse(topic_of(topic), sink, metrics, settings)
        await reader.start()
        reading = asyncio.create_task(reader.run())
        try:
            await gone_through(kafka, topic, clickhouse_at, (writer, metrics, reading))
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            await reader.stop()
        return tuple((await asyncio.to_thread(writer.rows, COUNTS))[0])

    rows = 20 * SIZE * LIVES
    assert asyncio.run(run()) == (rows, rows, rows)


async def gone_through(
    kafka: str,
    topic: str,
    clickhouse_at: Server,
    watched: "tuple[ClickHouse, WarehouseMetrics, asyncio.Task[None]]",
) -> None:
    writer, metrics, reading = watched
    for life in range(LIVES):
        produce(kafka, topic, range(20 * life, 20 * life + 10))
        some = 200 * life  # of this life at least one: the server dies between INSERTs, or in one
        await until(lambda found, some=some: found[0] > some, writer, reading)  # type: ignore[misc]  # bound at once
        clickhouse_at.kill()
        produce(kafka, topic, range(20 * life + 10, 20 * life + 20))
        await until_missed(metrics, 3 * (life + 1))
        await asyncio.to_thread(clickhouse_at.start)
        whole = 200 * (life + 1)
        await until(lambda found, n=whole: list(found) == [n, n, n], writer, reading)  # type: ignore[misc]  # bound at once


def test_warehouse_that_began_before_its_clickhouse_reads_once_it_is_there(
    kafka: str,
    prefix: str,
    clickhouse_address: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_of(kafka, prefix, tmp_path)

    async def write(place: Place) -> None:
        await place.journal(0, (0, 10), (10, 20))

    play(settings, write)
    known = {
        "KAFKA__BOOTSTRAP": kafka,
        "KAFKA__TOPIC_PREFIX": prefix,
        "KAFKA__GROUP": settings.kafka.group,
        "KAFKA__PARTITIONS": "2",
        "CLICKHOUSE__DSN": clickhouse_address.dsn,
        "CLICKHOUSE__DIR": str(tmp_path / "clickhouse"),
        "CLICKHOUSE__HTTP_PORT": "null",
    }
    for name, value in known.items():
        monkeypatch.setenv(f"CHIMERA_{name}", value)
    command = [sys.executable, "-m", "chimera.cli", "warehouse", "--ready-file"]
    ready, log = tmp_path / "warehouse-ready", tmp_path / "log"
    warehouse = Supervised([*command, str(ready)], ready, log, name="warehouse")
    warehouse.start()
    try:
        until_so(warehouse, lambda: warehouse.state.restarts > 0)
        clickhouse_address.start()
        until_so(warehouse, lambda: warehouse.state.ready)
        writer = clickhouse.server(clickhouse_address.dsn)
        until_so(warehouse, lambda: writer.rows(COUNTS) == [(20, 20, 20)])
    finally:
        warehouse.stop(10)
    assert "clickhouse" in log.read_text().lower()


def until_so(watched: Supervised, claim: Callable[[], bool]) -> None:
    """Raises NodeFailed: what is watched has ended for good."""
    ends = time.monotonic() + WITHIN_S
    while not claim():
        watched.watch()
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_sql_asks_a_server_and_changes_nothing(
    clickhouse_at: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its account may do what it likes; and each request says that this one does not."""
    writer = clickhouse.server(clickhouse_at.dsn)
    warehouse_tables.migrate(writer)
    monkeypatch.setenv("CHIMERA_CLICKHOUSE__DSN", clickhouse_at.dsn)
    monkeypatch.setenv("CHIMERA_CLICKHOUSE__READER_ROWS", "100")
    for harm in (
        "DROP TABLE chimera.inference_log",
        "INSERT INTO migrations (version, name) VALUES (99, 'x')",
        "SET readonly = 0",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT count() FROM inference_log SETTINGS max_execution_time = 0",
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "SELECT number FROM numbers(101)",
    ):
        refused = asked(harm)
        assert (refused.exit_code, refused.stdout) == (1, ""), harm
    with pytest.raises(ClickHouseRefused, match="readonly"):
        clickhouse.reader(clickhouse_at.dsn, {}).command("DROP TABLE chimera.inference_log")
    found = asked("SELECT count() FROM migrations")  # in our database
    assert found.stdout == f"{len(warehouse_tables.MIGRATIONS)}\n", found.stderr
    assert writer.rows("SELECT count() FROM chimera.inference_log") == [(0,)]


def asked(sql: str) -> Result:
    return CliRunner().invoke(app, ["sql", "--format", "tsv", sql])
