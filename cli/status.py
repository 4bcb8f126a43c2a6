"""`chimera status`: what of the local stack runs, and where."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chimera.cli.stack import state as stack_state


def status(
    as_json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
) -> None:
    """Show the local stack. Exit 0: it runs and is ready; 1: not."""
    import json
    from dataclasses import asdict

    from chimera.cli.stack import state as stack_state
    from chimera.schemas.errors import ChimeraError
    from chimera.schemas.settings import load

    try:
        folder = load().stack.dir.expanduser().absolute()
        state = stack_state.read(folder)
    except ChimeraError as error:
        typer.echo(f"chimera status: {error}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(None if state is None else asdict(state)))
    elif state is None:
        typer.echo(f"no stack runs in {folder}; `chimera up` starts one")
    else:
        typer.echo(_shown(state))
    if state is None or not state.ready:
        raise typer.Exit(1)


def _shown(state: "stack_state.StackState") -> str:
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
    return "\n".join(lines)
