"""`chimera node`: one node, until it is told to stop or cannot go on (exit status 70)."""

from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

STOP_WITHIN_S = 15.0  # longer than lanes need to finish; shorter than who waits for us, waits
GC_AFTER = 50_000  # new objects; the default, 700, looks through a window of records all the time

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    from prometheus_client import CollectorRegistry

    from chimera.schemas.settings import Settings
    from chimera.workers.births import Births


def node(
    bootstrap: str | None = typer.Option(None, help="Kafka's host:port; wins over the setting."),
    ready_file: Path | None = typer.Option(None, help="Written once the node serves."),
    metrics_port: int | None = typer.Option(
        None, help="Port of its Prometheus page; wins over the setting."
    ),
) -> None:
    """Serve requests: a Faust worker with its executors, on the Kafka of the settings."""
    import gc

    gc.disable()  # until it serves: looking through what imports leave costs a seventh of the start
    import uvloop

    from chimera.cli import lasting
    from chimera.cli.refusals import told

    with told("node"):
        settings = lasting.begin(ready_file)
        port = settings.observability.metrics_port if metrics_port is None else metrics_port
        uvloop.run(_serve(settings, bootstrap, ready_file, port))


async def _serve(
    settings: "Settings", bootstrap: str | None, ready_file: Path | None, metrics_port: int | None
) -> None:
    import asyncio
    import gc
    import os

    import structlog

    births = _births(settings)
    from chimera.agents.node import Node
    from chimera.cli import lasting
    from chimera.cli.exposition import expose
    from chimera.cli.stack.stack import find_bootstrap

    where = bootstrap or find_bootstrap(settings)
    node = Node(settings, where, births)
    stop = asyncio.Event()
    lasting.when_told(stop.set)
    host = settings.observability.metrics_host
    expose(node.metrics.registry, host, metrics_port, "CHIMERA_OBSERVABILITY__METRICS_PORT")
    log = structlog.get_logger("chimera.node")
    await asyncio.gather(node.start(), lasting.tell(settings, where, "node"))
    gc.freeze()  # what lives now lives for ever; records come and go by the thousand
    gc.set_threshold(GC_AFTER, 20, 100)
    gc.enable()
    lasting.ready(ready_file)
    log.info("node_ready", guarantee=settings.serving.guarantee, group=settings.kafka.group)
    ended = asyncio.ensure_future(node.ended.wait())
    told = asyncio.ensure_future(stop.wait())
    async with _controller(settings, where, node.metrics.registry):
        await asyncio.wait((ended, told), return_when="FIRST_COMPLETED")
    if ended.done():
        node.fatal("the Faust app ended by itself")
    log.info("node_stops")
    stopping = asyncio.ensure_future(node.stop())
    await asyncio.wait((stopping,), timeout=STOP_WITHIN_S)
    if (
        not stopping.done()
    ):  # while no broker answers, a group cannot be left; nothing is lost by it
        log.warning("node_left_without_the_brokers_word", within_s=STOP_WITHIN_S)
        os._exit(0)
    stopping.result()


def _births(settings: "Settings") -> "Births":
    """Executors of the processor start while the node imports the rest of itself, on another core."""
    from chimera.workers import kinds
    from chimera.workers.births import Births
    from chimera.workers.devices import has_driver

    births = Births()
    cpus = settings.serving.devices.count("cpu") if settings.serving.devices else not has_driver()
    with suppress(OSError):  # whoever needs one tries again, and says so
        births.ahead(kinds.ONNX, settings.serving.executors * cpus)
    return births


@asynccontextmanager
async def _controller(
    settings: "Settings", bootstrap: str, registry: "CollectorRegistry"
) -> "AsyncGenerator[None]":
    """Only a node that follows the registry has one; what it imports, it imports beside the loop."""
    import asyncio

    if not settings.serving.follow:
        yield
        return
    controlling = await asyncio.to_thread(_import_controlling)
    async with controlling(settings, bootstrap, registry):
        yield


def _import_controlling() -> (
    "Callable[[Settings, str, CollectorRegistry], AbstractAsyncContextManager[None]]"
):
    from chimera.cli.controlling import controlling

    return controlling
