"""`chimera ingest`: results and feedback labels joined into Parquet that a run can be trained on.

`tests/cli/ingesting/test_ingestion.py`.
"""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chimera.schemas.settings import Settings
    from chimera.stores.samples import Samples


def ingest(
    every_s: Annotated[
        float | None, typer.Option("--every", min=0.1, help="Seconds between looks; unset: once.")
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka's host:port; wins over the setting.")
    ] = None,
) -> None:
    """Join results with the labels of `training.samples`, up to now; `docs/training.md` has the rules."""
    import asyncio
    from contextlib import suppress

    from chimera.cli.refusals import told
    from chimera.cli.stack.stack import find_bootstrap
    from chimera.schemas.settings import load

    with told("ingest"), suppress(KeyboardInterrupt):
        settings = load()
        asyncio.run(_ingest(settings, bootstrap or find_bootstrap(settings), every_s))


async def _ingest(settings: "Settings", bootstrap: str, every_s: float | None) -> None:
    import asyncio

    from chimera.agents import starting
    from chimera.cli.models.actor import actor
    from chimera.schemas.errors import KafkaUnavailable
    from chimera.stores.samples import Samples

    is_told = every_s is None  # one look is no process that lasts
    with Samples(settings.ingest.dir) as samples:
        while True:
            try:
                if not is_told:
                    await starting.begin(settings, bootstrap, "ingest", actor(), within_s=0)
                    is_told = True
                await _look(settings, bootstrap, samples)
            except KafkaUnavailable as error:
                if every_s is None:
                    raise
                typer.echo(f"chimera ingest: {error}; trying again in {every_s:g} s", err=True)
            if every_s is None:
                return
            await asyncio.sleep(every_s)


async def _look(settings: "Settings", bootstrap: str, samples: "Samples") -> None:
    """Everything up to now."""
    from chimera.cli.ingesting.ingestion import opened_ingestion

    async with opened_ingestion(settings, bootstrap, samples) as ingestion:
        await ingestion.run()
    told = ", ".join(f"{name} {count:,}" for name, count in samples.counts().items())
    typer.echo(f"{samples.folder}: {told or 'no labels yet'}")
    if ingestion.missed:
        typer.echo("retention has removed records that were not read", err=True)
    if ingestion.unsettled:
        id, why = next(iter(ingestion.unsettled.items()))
        count = len(ingestion.unsettled)
        typer.echo(f"{count:,} labels wait for claim checks, {id} first: {why}", err=True)
