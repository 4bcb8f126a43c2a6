"""`chimera up`: the local stack and its nodes, until Ctrl-C, or in the background."""

import signal
from typing import TYPE_CHECKING, Annotated, Never

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from chimera.cli.stack.state import StackState
    from chimera.schemas.settings import Settings

_WAIT_S = 120


def up(
    detach: Annotated[
        bool, typer.Option("--detach", help="Come back once everything is ready.")
    ] = False,
    nodes: Annotated[int, typer.Option(min=0, help="How many nodes; 0: the servers alone.")] = 1,
) -> None:
    """Start Kafka and Postgres (unless the settings name them), put topics and tables in order,
    run a node and a training agent; and, while the journal is on, the warehouse.

    Ctrl-C ends all of it; a second one at once.
    """
    from chimera.schemas.errors import ChimeraError
    from chimera.schemas.settings import load

    try:
        settings = load()
        if detach:
            _in_background(settings, nodes)
        else:
            _in_foreground(settings, nodes)
    except ChimeraError as error:
        typer.echo(f"chimera up: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("stopped")


def _in_foreground(settings: "Settings", nodes: int) -> None:
    from chimera.cli import logs
    from chimera.cli.progress import waiting
    from chimera.cli.stack import interrupts
    from chimera.cli.stack.stack import Stack

    logs.configure(settings.observability)
    interrupts.raised(where_ignored=False)
    _fetch(settings)
    with Stack(settings, nodes) as stack:
        try:
            with waiting("the servers start, then topics and tables are put in order"):
                stack.start_servers()
            stack.start_nodes()
            stack.watch(until=lambda: stack.state.ready)
            typer.echo(_ready(settings, stack.state))
            stack.watch(until=lambda: False)
        except KeyboardInterrupt:
            typer.echo("stopping; once more to stop at once", err=True)
            for number in interrupts.NUMBERS:
                signal.signal(number, signal.SIG_DFL)
            raise


def _in_background(settings: "Settings", nodes: int) -> None:
    import subprocess
    import sys
    import time

    from chimera.cli.progress import waiting
    from chimera.cli.stack import locks
    from chimera.cli.stack import state as stack_state
    from chimera.schemas.errors import ConfigurationError

    folder = settings.stack.dir.expanduser().absolute()
    holder = locks.holder(stack_state.lock_file(folder))
    if holder is not None:
        raise ConfigurationError(f"a stack runs in {folder} already (process {holder})")
    _fetch(settings)
    folder.mkdir(parents=True, exist_ok=True)
    log_file = folder / "stack.log"
    command = [sys.executable, "-m", "chimera.cli", "up", "--nodes", str(nodes)]
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    until = time.monotonic() + _WAIT_S
    with waiting("waiting for the servers and the node"):
        while True:
            state = stack_state.read(folder)
            if state is not None and state.ready:
                break
            if process.poll() is not None:
                _fail(f"the stack ended while it started; {log_file} says:\n{_tail(log_file)}")
            if time.monotonic() > until:
                _fail(
                    f"not ready after {_WAIT_S} s, and still starting; see `chimera status` "
                    f"and {log_file}"
                )
            time.sleep(0.1)
    typer.echo(_ready(settings, state))
    typer.echo(f"  log    {log_file}\n  end it with `chimera down`")


def _fetch(settings: "Settings") -> None:
    """Kafka's jars, the first time; a bar shows it."""
    from chimera.cli.kafka import jars as kafka_jars
    from chimera.cli.progress import fetching

    if settings.kafka.bootstrap is None:
        with fetching("Kafka") as progress:
            kafka_jars.class_path(settings.kafka.jars_dir, progress)


def _ready(settings: "Settings", state: "StackState") -> str:
    from chimera.cli.warehousing.http_hosts import in_url

    kept = "your own cluster" if settings.kafka.bootstrap else settings.kafka.embedded_dir
    lines = ["ready", f"  Kafka  {state.bootstrap} ({kept})"]
    if state.postgres is not None:
        held = "your own server" if settings.postgres.dsn else settings.postgres.embedded_dir
        lines.append(f"  Postgres  {state.postgres} ({held})")
    lines.append(f"  nodes  {len(state.nodes)}, models from {settings.serving.models_dir}")
    if state.warehouse is not None and settings.clickhouse.dsn is None:
        of = settings.clickhouse
        lines.append(f"  SQL  http://{in_url(of.http_host)}:{of.http_port}, or `chimera sql`")
    if settings.stack.trainer and state.postgres is not None and state.nodes:
        lines.append(f"  training  `chimera train submit`; runs in {settings.training.dir}")
    lines += [f"  metrics  {node.metrics}" for node in state.nodes if node.metrics]
    return "\n".join(lines)


def _tail(log_file: "Path") -> str:
    return log_file.read_text("utf-8", "replace").strip()[-2000:]


def _fail(message: str) -> Never:
    typer.echo(f"chimera up: {message}", err=True)
    raise typer.Exit(1)
