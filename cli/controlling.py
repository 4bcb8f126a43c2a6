"""A node's controller: beside a node that follows the registry, as long as there is one.

Any such node may have it; the one that gets the registry's lock does models' commands, the others
wait. A node serves on without a registry, and looks for it again. `tests/cli/test_deploying.py`.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import structlog
from prometheus_client import CollectorRegistry

from chimera.agents.controlling.controller import Controller
from chimera.agents.controlling.controller_metrics import ControllerMetrics
from chimera.cli.postgres.address import find_postgres
from chimera.schemas.errors import ConfigurationError, PostgresUnavailable
from chimera.schemas.settings import Settings
from chimera.stores.postgres import Database

log = structlog.get_logger(__name__)

LOOK_AGAIN_S = 5.0


@asynccontextmanager
async def controlling(
    settings: Settings, bootstrap: str, registry: CollectorRegistry
) -> AsyncGenerator[None]:
    """For as long as the context lasts; `registry` is the node's, of its metrics."""
    metrics = ControllerMetrics(registry)
    keeping = asyncio.create_task(_keep(settings, bootstrap, metrics), name="controller-keeper")
    try:
        yield
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


async def _keep(settings: Settings, bootstrap: str, metrics: ControllerMetrics) -> None:
    while True:
        try:
            async with Database(find_postgres(settings.postgres), settings.postgres) as database:
                await _control(Controller(settings, bootstrap, database, metrics=metrics))
        except (ConfigurationError, PostgresUnavailable) as error:
            log.warning("no_registry", reason=str(error))
            await asyncio.sleep(LOOK_AGAIN_S)


async def _control(controller: Controller) -> None:
    await controller.start()
    try:
        await asyncio.get_running_loop().create_future()  # until cancelled
    finally:
        await controller.stop()
