"""`chimera bench`: ours and the rivals on one broker, in one sitting; from a checkout only.

With `--json -` standard output is one JSON document and nothing else; tables and progress go to
standard error. Without it the table is on standard output. `benchmarks/` does the work.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.contenders import Contender
    from benchmarks.sitting import Sitting

app = typer.Typer(no_args_is_help=True, help="Speed and memory, beside the rivals (in a checkout).")

Bootstrap = Annotated[
    str | None, typer.Option(help="Kafka's host:port; unset: an embedded one for this sitting.")
]
Rounds = Annotated[int, typer.Option(min=1, help="Rounds; contenders take turns in each.")]
JsonTo = Annotated[str | None, typer.Option("--json", help="A file for the report; -: stdout.")]
Save = Annotated[bool, typer.Option(help="Keep the report as docs/results/<kind>.json, too.")]
Executors = Annotated[int, typer.Option(min=1, help="Executor processes of our node.")]
SpineRequests = Annotated[int, typer.Option(min=1_000, help="Backlog of the spine's trial.")]
Who = Annotated[
    str,
    typer.Option(
        help="Comma-separated beginnings of contenders' names (exactly_once, at_least_once, "
        "loop_aiokafka, loop_confluent, txn_loop, lanes_txn_loop, bytewax, quix, faust_event, faust_take, "
        "mlserver); all: everybody; `chimera bench contenders` lists them."
    ),
]


@app.command()
def throughput(
    bootstrap: Bootstrap = None,
    rounds: Rounds = 5,
    requests: Annotated[int, typer.Option(min=1_000, help="Backlog of a trial.")] = 300_000,
    rivals: Who = "exactly_once,at_least_once,loop_aiokafka",
    executors: Executors = 2,
    json: JsonTo = None,
    save: Save = False,
) -> None:
    """Requests per second over a backlog: ours, and rivals at their best of one or two processes."""

    def play(sitting: "Sitting") -> dict[str, Any]:
        from benchmarks.throughput import run

        return run(sitting, _contenders(rivals, executors), requests)

    _sit(play, bootstrap, rounds, json, save)


@app.command()
def latency(
    bootstrap: Bootstrap = None,
    rounds: Rounds = 5,
    rate: Annotated[float, typer.Option(min=1, help="Requests per second.")] = 1_000,
    seconds: Annotated[float, typer.Option(min=1, help="Measured seconds of a trial.")] = 60,
    warmup: Annotated[float, typer.Option(min=0, help="Seconds before them, left out.")] = 10,
    rivals: Who = "exactly_once,at_least_once,txn_loop",
    executors: Executors = 1,
    json: JsonTo = None,
    save: Save = False,
) -> None:
    """Milliseconds from the scheduled send time to a read_committed reader, open loop."""

    def play(sitting: "Sitting") -> dict[str, Any]:
        from benchmarks.latency import run

        chosen = _contenders(rivals, executors)
        return run(sitting, chosen, rate=rate, seconds=seconds, warmup_s=warmup)

    _sit(play, bootstrap, rounds, json, save)


@app.command()
def memory(
    bootstrap: Bootstrap = None,
    requests: Annotated[int, typer.Option(min=10_000, help="Of each phase.")] = 2_000_000,
    rate: Annotated[float, typer.Option(min=1, help="Requests per second of the stream.")] = 15_000,
    guarantee: Annotated[str, typer.Option()] = "exactly_once",
    executors: Executors = 1,
    json: JsonTo = None,
    save: Save = False,
) -> None:
    """Resident memory of node and executors over a stream, then over a backlog."""

    def play(sitting: "Sitting") -> dict[str, Any]:
        from benchmarks.memory import run

        (chosen,) = _contenders(guarantee, executors)
        return run(sitting, chosen, requests=requests, rate=rate)

    _sit(play, bootstrap, 1, json, save)


@app.command()
def scaling(
    bootstrap: Bootstrap = None,
    rounds: Rounds = 5,
    requests: Annotated[int, typer.Option(min=1_000, help="Backlog of a trial.")] = 300_000,
    guarantee: Annotated[str, typer.Option()] = "exactly_once",
    json: JsonTo = None,
    save: Save = False,
) -> None:
    """1, 2 and 4 nodes, 1 and 2 executors: what each gains, and how busy the machine is."""

    def play(sitting: "Sitting") -> dict[str, Any]:
        from benchmarks.scaling import run

        return run(sitting, guarantee=guarantee, requests=requests)

    _sit(play, bootstrap, rounds, json, save)


@app.command()
def transactions(
    bootstrap: Bootstrap = None,
    rounds: Rounds = 5,
    count: Annotated[int, typer.Option(min=10, help="Transactions of a trial.")] = 300,
    records: Annotated[int, typer.Option(min=1, help="Records of a transaction.")] = 10,
    json: JsonTo = None,
    save: Save = False,
) -> None:
    """One transaction by itself, back to back and paced: aiokafka, its sleeps cut, ours."""

    def play(sitting: "Sitting") -> dict[str, Any]:
        from benchmarks.transactions import run

        return run(sitting, count=count, records=records)

    _sit(play, bootstrap, rounds, json, save)


@app.command()
def sinks(
    bootstrap: Bootstrap = None,
    rounds: Rounds = 3,
    rows: Annotated[int, typer.Option(min=10_000, help="Backlog of the sink.")] = 8_000_000,
    requests: SpineRequests = 300_000,
    executors: Executors = 2,
    rate: Annotated[float, typer.Option(min=40, help="Requests per second, steadily.")] = 1_000,
    seconds: Annotated[float, typer.Option(min=1, help="Of that rate.")] = 30,
    json: JsonTo = None,
    save: Save = False,
) -> None:
    """Rows per second from the journal into ClickHouse, beside the spine; how late they are."""

    def play(sitting: "Sitting") -> dict[str, Any]:
        from benchmarks.sinks import run

        return run(
            sitting, rows=rows, requests=requests, executors=executors, rate=rate, seconds=seconds
        )

    _sit(play, bootstrap, rounds, json, save)


@app.command()
def audit(
    bootstrap: Bootstrap = None,
    rounds: Rounds = 3,
    leaves: Annotated[int, typer.Option(min=10_000, help="Backlog of the journal.")] = 4_000_000,
    requests: SpineRequests = 300_000,
    executors: Executors = 2,
    verified: Annotated[int, typer.Option(min=1_000, help="Leaves to verify.")] = 1_000_000,
    json: JsonTo = None,
    save: Save = False,
) -> None:
    """Leaves per second of the sequencer, beside the spine; a million of them verified."""

    def play(sitting: "Sitting") -> dict[str, Any]:
        from benchmarks.sequencing import run

        return run(
            sitting, leaves=leaves, requests=requests, executors=executors, verified=verified
        )

    _sit(play, bootstrap, rounds, json, save)


@app.command()
def training(
    rounds: Rounds = 5,
    json: JsonTo = None,
    save: Save = False,
) -> None:
    """Training beside bare torch, pandas and pyarrow; checkpoints, two processes, memory."""
    root = _require_checkout()
    import tempfile

    from rich.console import Console

    from benchmarks.training import Sizes, run

    say = Console(stderr=True, highlight=False, style="dim").print
    with tempfile.TemporaryDirectory(prefix="chimera-bench-") as folder:
        report = run(Path(folder), Sizes(rounds=rounds), say)
    _write(report, root, json, save)


@app.command()
def show(
    report: Annotated[Path, typer.Argument(help="A saved report, for example of --save.")],
) -> None:
    """Print the table of a saved report."""
    _require_checkout()
    import orjson
    from rich.console import Console

    from benchmarks import tables

    tables.show(orjson.loads(report.read_bytes()), Console())


@app.command()
def contenders() -> None:
    """List who can take part, and what each promises."""
    _require_checkout()
    for contender in _contenders("all", 2):
        typer.echo(f"{contender.name:<20} {contender.promises}")


def _sit(
    play: "Callable[[Sitting], dict[str, Any]]",
    bootstrap: str | None,
    rounds: int,
    json_to: str | None,
    save: bool,
) -> None:
    """Start what is missing, play, show, write."""
    root = _require_checkout()
    import signal
    import tempfile
    from contextlib import ExitStack

    from rich.console import Console

    from benchmarks import model
    from benchmarks.broker import Broker
    from benchmarks.environments import NotRun
    from benchmarks.sitting import Sitting

    signal.signal(signal.SIGTERM, _leave)
    progress = Console(stderr=True, highlight=False, style="dim")
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chimera-bench-")))
        broker = Broker(bootstrap or stack.enter_context(_embedded()).bootstrap)
        model.write(work / "models")
        try:
            report = play(Sitting(broker, work / "models", work, rounds, progress.print))
        except NotRun as error:
            typer.echo(f"chimera bench: not run: {error}", err=True)
            raise typer.Exit(1) from None
    _write(report, root, json_to, save)


def _write(report: "dict[str, Any]", root: Path, json_to: str | None, save: bool) -> None:
    """Where it was asked for, and as a table."""
    import orjson
    from rich.console import Console

    from benchmarks import tables

    encoded = orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n"
    if save:
        (root / "docs" / "results" / f"{report['kind']}.json").write_bytes(encoded)
    if json_to == "-":
        sys.stdout.buffer.write(encoded)
    elif json_to is not None:
        Path(json_to).write_bytes(encoded)
    tables.show(report, Console(stderr=json_to == "-"))


def _leave(_number: int, _frame: object) -> None:
    """End like Ctrl-C does, so that everything that was started is stopped."""
    raise KeyboardInterrupt


def _embedded() -> Any:
    from chimera.cli.kafka.server import EmbeddedKafka

    return EmbeddedKafka()


def _contenders(chosen: str, executors: int) -> "list[Contender]":
    from benchmarks.contenders import ours, rivals

    everybody = [*ours(executors), *rivals()]
    wanted = [name.strip() for name in chosen.split(",") if name.strip()]
    found = [
        contender
        for contender in everybody
        if chosen == "all" or any(contender.name.startswith(name) for name in wanted)
    ]
    if not found:
        raise typer.BadParameter(f"no contender's name begins with {chosen!r}")
    return found


def _require_checkout() -> Path:
    """Make `benchmarks` importable; it is not part of an installation."""
    root = Path(__file__).resolve().parents[1]
    if not (root / "benchmarks" / "sitting.py").exists():
        typer.echo(
            "chimera bench: run it from a checkout; an installation has no benchmarks", err=True
        )
        raise typer.Exit(1)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return root
