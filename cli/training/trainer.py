"""`chimera trainer`: a training agent, until it is told to stop."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from chimera.schemas.settings import Settings


def trainer(
    bootstrap: str | None = typer.Option(None, help="Kafka's host:port; wins over the setting."),
    ready_file: Path | None = typer.Option(None, help="Written once it looks for runs."),
) -> None:
    """Train what `training.triggers` orders: runs in processes of their own, on this machine."""
    import asyncio

    from chimera.cli import lasting
    from chimera.cli.refusals import told

    with told("trainer"):
        asyncio.run(_serve(lasting.begin(ready_file), bootstrap, ready_file))


async def _serve(settings: "Settings", bootstrap: str | None, ready_file: Path | None) -> None:
    from chimera.agents.training.agent import TrainingAgent
    from chimera.cli import lasting
    from chimera.cli.exposition import expose
    from chimera.cli.postgres.address import find_postgres
    from chimera.cli.stack.stack import find_bootstrap
    from chimera.stores.postgres import Database

    where = bootstrap or find_bootstrap(settings)
    await lasting.tell(settings, where, "trainer")
    async with Database(find_postgres(settings.postgres), settings.postgres) as database:
        agent = TrainingAgent(settings, where, database)
        host, port = settings.observability.metrics_host, settings.trainer.metrics_port
        expose(agent.metrics.registry, host, port, "CHIMERA_TRAINER__METRICS_PORT")
        lasting.when_told(agent.stop)
        lasting.ready(ready_file)
        await agent.run()
