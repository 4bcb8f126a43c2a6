"""`chimera watch`: a live table of lanes, their lags and rates, and of what executors do."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chimera.cli.offsets.positions import Desk
    from chimera.cli.watching.table import Look
    from chimera.schemas.settings import Settings


def watch(
    once: Annotated[bool, typer.Option("--once", help="Print one table and end.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 1.0,
    metrics: Annotated[
        list[str] | None,
        typer.Option(help="A node's Prometheus page; once for each node. Else the stack's nodes'."),
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka's host:port; wins over the setting.")
    ] = None,
) -> None:
    """Watch lanes: committed, lag, window, rate, halted; outcomes, batches, executors.

    Ctrl-C ends it. Reads only.
    """
    import asyncio

    from chimera.cli.stack.stack import find_bootstrap
    from chimera.cli.watching import scrape
    from chimera.schemas.errors import ChimeraError
    from chimera.schemas.settings import load

    try:
        settings = load()
        pages = metrics or scrape.of_stack(settings)
        asyncio.run(_watch(settings, bootstrap or find_bootstrap(settings), pages, every, once))
    except ChimeraError as error:
        typer.echo(f"chimera watch: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        return


async def _watch(
    settings: "Settings", bootstrap: str, pages: "Sequence[str]", every_s: float, once: bool
) -> None:
    import asyncio

    from rich.console import Console
    from rich.live import Live

    from chimera.cli.offsets.positions import opened
    from chimera.cli.watching.table import table

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    async with opened(settings, bootstrap) as desk:
        before = await _look(desk, pages)
        await asyncio.sleep(every_s)
        now = await _look(desk, pages)
        if once:
            console.print(table(before, now))
            return
        with Live(table(before, now), console=console, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(every_s)
                before, now = now, await _look(desk, pages)
                live.update(table(before, now), refresh=True)


async def _look(desk: "Desk", urls: "Sequence[str]") -> "Look":
    import asyncio
    import time

    from chimera.cli.watching.scrape import pages
    from chimera.cli.watching.table import Look

    page, failures = await asyncio.to_thread(pages, urls)
    positions, members = await desk.positions(), await desk.members()
    return Look(time.monotonic(), positions, members, page, failures, bool(urls))
