"""`chimera status`: what of the local stack runs, and where."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chimera.cli.stack import state as stack_state
    from chimera.schemas.settings import Settings


def status(
    as_json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
) -> None:
    """Show the local stack, and tables that its warehouse had to stop writing.

    Exit 0: it runs and is ready; 1: not.
    """
    import json
    from dataclasses import asdict

    from chimera.cli.stack import state as stack_state
    from chimera.schemas.errors import ChimeraError
    from chimera.schemas.settings import load

    try:
        settings = load()
        folder = settings.stack.dir.expanduser().absolute()
        state = stack_state.read(folder)
    except ChimeraError as error:
        typer.echo(f"chimera status: {error}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(None if state is None else asdict(state)))
    elif state is None:
        typer.echo(f"no stack runs in {folder}; `chimera up` starts one")
    else:
        stopped = _stopped_tables(settings) if state.warehouse is not None else ()
        typer.echo(_shown(state, stopped))
    if state is None or not state.ready:
        raise typer.Exit(1)


def _stopped_tables(settings: "Settings") -> Collection[str]:
    """Those that the warehouse writes no more; a warehouse that does not answer tells of none."""
    from chimera.cli.warehousing import engine
    from chimera.cli.watching import scrape

    url = engine.metrics_page(settings.clickhouse)
    page, _ = scrape.pages([url] if url is not None else [])
    return sorted(page.stopped)


def _shown(state: "stack_state.StackState", stopped: Collection[str]) -> str:
    kafka = f"process {state.kafka_pid}" if state.kafka_pid else "your own cluster"
    lines = [
        f"{'ready' if state.ready else 'starting'}  (kept by process {state.pid})",
        f"  Kafka  {state.bootstrap}  {kafka}",
    ]
    if state.postgres is not None:
        own = f"process {state.postgres_pid}" if state.postgres_pid else "your own server"
        lines.append(f"  Postgres  {state.postgres}  {own}")
    processes = [("node", node) for node in state.nodes]
    beside = {
        "sequencer": state.sequencer,
        "warehouse": state.warehouse,
        "trainer": state.trainer,
    }
    processes += [(name, one) for name, one in beside.items() if one is not None]
    for name, one in processes:
        restarts = f", started again {one.restarts} times" if one.restarts else ""
        told = "ended for good" if one.failed else "ready" if one.ready else "not ready"
        lines.append(f"  {name:<6} process {one.pid}  {told}{restarts}")
    lines += [f"  table  {table}  stopped: the warehouse's log says why" for table in stopped]
    return "\n".join(lines)
