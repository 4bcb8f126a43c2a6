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

    from chimera.cli import logs
    from chimera.schemas.errors import ChimeraError
    from chimera.schemas.settings import load

    try:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)  # an earlier run's
        settings = load()
        logs.configure(settings.observability)
        asyncio.run(_serve(settings, bootstrap, ready_file))
    except ChimeraError as error:
        typer.echo(f"chimera trainer: {error}", err=True)
        raise typer.Exit(1) from None


async def _serve(settings: "Settings", bootstrap: str | None, ready_file: Path | None) -> None:
    import asyncio
    import signal

    from chimera.agents.training.agent import TrainingAgent
    from chimera.cli.postgres.address import find_postgres
    from chimera.cli.stack.stack import find_bootstrap
    from chimera.stores.postgres import Database

    where = bootstrap or find_bootstrap(settings)
    async with Database(find_postgres(settings.postgres), settings.postgres) as database:
        agent = TrainingAgent(settings, where, database)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, agent.stop)
        if ready_file is not None:
            ready_file.touch()  # noqa: ASYNC240  # one empty file, once
        await agent.run()
