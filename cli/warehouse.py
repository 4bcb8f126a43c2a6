"""`chimera warehouse`: what happened, from Kafka into ClickHouse, until it is told to stop.

One process owns the embedded engine's folder: a lock in it says who. A server of one's own is named
by `CHIMERA_CLICKHOUSE__DSN`; one warehouse at a time there, too.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from chimera.schemas.settings import Settings
    from chimera.stores.sink import Sink


def warehouse(
    bootstrap: str | None = typer.Option(None, help="Kafka's host:port; wins over the setting."),
    ready_file: Path | None = typer.Option(None, help="Written once it reads."),
) -> None:
    """Write a row about each request to ClickHouse, from inference.journal."""
    import asyncio

    from chimera.cli import logs
    from chimera.cli.engine import opened
    from chimera.schemas.errors import ChimeraError
    from chimera.schemas.settings import load

    try:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)  # an earlier run's
        settings = load()
        logs.configure(settings.observability)
        with opened(settings.clickhouse) as clickhouse:
            from chimera.stores import inference_log, warehouse_tables
            from chimera.stores.sink import Limits, Sink

            warehouse_tables.migrate(clickhouse)
            of = settings.clickhouse
            limits = Limits(of.batch_rows, of.batch_bytes, of.batch_ms / 1000)
            sink = Sink(clickhouse, inference_log.LOG, limits)
            asyncio.run(_serve(settings, bootstrap, ready_file, sink))
    except ChimeraError as error:
        typer.echo(f"chimera warehouse: {error}", err=True)
        raise typer.Exit(1) from None


async def _serve(
    settings: "Settings", bootstrap: str | None, ready_file: Path | None, sink: "Sink"
) -> None:
    import asyncio
    import signal

    from chimera.agents.warehouse import Warehouse
    from chimera.cli.stack import find_bootstrap
    from chimera.topics import clients
    from chimera.topics.catalogue import catalogue

    topic = catalogue(settings).journal
    where = bootstrap or find_bootstrap(settings)
    group = f"{settings.kafka.group}.warehouse"
    arguments = clients.consumer_arguments(settings.kafka, where, "chimera-warehouse")
    reader = Warehouse(topic.name, topic.partitions, sink, {**arguments, "group_id": group})
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await reader.start()
        if ready_file is not None:
            ready_file.touch()  # noqa: ASYNC240  # one empty file, once
        running, told = asyncio.ensure_future(reader.run()), asyncio.ensure_future(stop.wait())
        await asyncio.wait((running, told), return_when="FIRST_COMPLETED")
        if running.done():
            running.result()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    finally:
        await reader.stop()
