"""`chimera warehouse`: what happened, from Kafka into ClickHouse, until it is told to stop.

One process owns the embedded engine's folder, and serves it over HTTP: a lock in it says who. A server
of one's own is named by `CHIMERA_CLICKHOUSE__DSN`; one warehouse at a time there, too. Exit status 1:
something is wrong that another start does not mend, and not with one table alone; 70: start it again, ClickHouse or Kafka is away, or
another one has the folder: who is started again and again takes over once that one is gone.
"""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from chimera.agents.warehouse import Warehouse
    from chimera.agents.warehouse_metrics import WarehouseMetrics
    from chimera.agents.warehouse_readers import WarehouseReaders
    from chimera.schemas.history_settings import ClickHouseSettings
    from chimera.schemas.settings import Settings
    from chimera.stores.clickhouse import ClickHouse


def warehouse(
    bootstrap: str | None = typer.Option(None, help="Kafka's host:port; wins over the setting."),
    ready_file: Path | None = typer.Option(None, help="Written once it reads."),
) -> None:
    """Write what happened to ClickHouse, and let analysts read it over HTTP."""
    import uvloop

    from chimera.cli import lasting
    from chimera.cli.refusals import told
    from chimera.cli.warehousing.engine import opened

    with told("warehouse"):
        settings = lasting.begin(ready_file)
        with started_again(), opened(settings.clickhouse) as clickhouse:
            uvloop.run(_serve(settings, bootstrap, ready_file, clickhouse))


@contextmanager
def started_again() -> "Generator[None]":
    """What may go better another time ends the process, to be started again."""
    from aiokafka.errors import KafkaError  # pyright: ignore[reportMissingTypeStubs]  # has none

    from chimera.cli import lasting
    from chimera.schemas.errors import ClickHouseUnavailable, KafkaUnavailable
    from chimera.topics.producers import ProducerError

    try:
        yield
    except (ClickHouseUnavailable, KafkaUnavailable, KafkaError, ProducerError) as error:
        typer.echo(f"chimera warehouse: {str(error) or repr(error)}", err=True)
        raise typer.Exit(lasting.START_AGAIN) from None


async def _serve(
    settings: "Settings", bootstrap: str | None, ready_file: Path | None, clickhouse: "ClickHouse"
) -> None:
    import asyncio

    from chimera.agents.warehouse_metrics import WarehouseMetrics
    from chimera.agents.warehouse_readers import WarehouseReaders
    from chimera.cli import lasting
    from chimera.cli.stack.stack import find_bootstrap
    from chimera.cli.warehousing import http_server
    from chimera.stores import retention, warehouse_tables

    where = bootstrap or find_bootstrap(settings)
    await lasting.tell(settings, where, "warehouse")
    await asyncio.to_thread(warehouse_tables.migrate, clickhouse)
    await asyncio.to_thread(retention.keep, clickhouse, _days(settings.clickhouse))
    stop = asyncio.Event()
    lasting.when_told(stop.set)
    metrics = WarehouseMetrics()
    readers = WarehouseReaders(list(_readers(settings, where, clickhouse, metrics)), metrics)
    async with http_server.serving(settings.clickhouse, metrics.registry):
        reading = asyncio.ensure_future(_read(readers, ready_file))
        told = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((reading, told), return_when="FIRST_COMPLETED")
            if reading.done():
                reading.result()
        finally:
            for task in (reading, told):
                task.cancel()
            await asyncio.gather(reading, told, return_exceptions=True)
            await readers.stop()


def _days(settings: "ClickHouseSettings") -> dict[str, int | None]:
    return {
        "inference_log": settings.inference_log_days,
        "model_log": settings.model_log_days,
        "training_log": settings.training_log_days,
    }


async def _read(readers: "WarehouseReaders", ready_file: Path | None) -> None:
    from chimera.cli import lasting

    await readers.start()
    lasting.ready(ready_file)
    await readers.run()


def _readers(
    settings: "Settings",
    bootstrap: str,
    clickhouse: "ClickHouse",
    metrics: "WarehouseMetrics",
) -> "Iterator[Warehouse]":
    """One for each topic; they share a handle, whose calls take turns."""
    from chimera.agents.warehouse import Warehouse
    from chimera.stores import (
        audit_checkpoints,
        audit_log,
        inference_log,
        model_log,
        training_log,
    )
    from chimera.stores.sink import Limits, Sink
    from chimera.topics.catalogue import catalogue

    topics, of = catalogue(settings), settings.clickhouse
    limits = Limits(of.batch_rows, of.batch_bytes, of.batch_ms / 1000)
    kafka = settings.kafka.model_copy(update={"bootstrap": bootstrap})
    for topic, log in (
        (topics.journal, inference_log.LOG),
        (topics.model_events, model_log.LOG),
        (topics.training_events, training_log.LOG),
        (topics.audit_log, audit_log.destination()),
        (topics.audit_checkpoints, audit_checkpoints.LOG),
    ):
        yield Warehouse(topic, Sink(clickhouse, log, limits), metrics, kafka)
