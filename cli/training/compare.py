"""`chimera train compare`: two runs' orders and metrics side by side, and their curves.

`tests/cli/test_train.py`, and `test_train_ingested.py` of runs that are not here.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.training.tenant import Tenant

if TYPE_CHECKING:
    from rich.console import Console

    from chimera.schemas.training_manifest import TrainingManifest
    from chimera.workers.training.comparison import Points, Run

LEVELS = "▁▂▃▄▅▆▇█"
WIDTH = 40  # characters of a curve


def compare(
    first: Annotated[str, typer.Argument(help="A run.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
    plot: Annotated[
        Path | None, typer.Option(help="A PNG of the curves (extra `plot`); unset: none.")
    ] = None,
    tenant: Tenant = "default",
) -> None:
    """What two runs were ordered differently, how their metrics went and what they ended in."""
    from rich.console import Console

    from chimera.cli.refusals import told
    from chimera.cli.training.finished import known
    from chimera.schemas.settings import load

    with told("train"):
        from chimera.cli.training import elsewhere

        settings = load()
        runs = tuple(elsewhere.run(settings, tenant, one) for one in (first, second))
        finished = {one.run_id: one for one in known(tenant)}
        console = Console(highlight=False)
        _orders(console, *runs)
        _ends(console, runs, finished)
        _curves(console, runs)
        if plot is not None:
            _draw(runs, plot)


def _orders(console: "Console", first: "Run", second: "Run") -> None:
    from rich import box
    from rich.table import Table

    from chimera.workers.training.comparison import differences

    found = list(differences(first.config, second.config))
    if not found:
        console.print("both were ordered alike")
        return
    table = Table("order", first.run_id, second.run_id, box=box.SIMPLE_HEAD)
    for one in found:
        table.add_row(one.field, _shown(one.first), _shown(one.second))
    console.print(table)


def _ends(
    console: "Console", runs: "tuple[Run, ...]", finished: "dict[str, TrainingManifest]"
) -> None:
    """Metrics of the best checkpoints; of data that differ they are no comparison, and it says so."""
    from rich import box
    from rich.table import Table

    found = [finished[run.run_id] for run in runs if run.run_id in finished]
    for run in runs:
        if run.run_id not in finished:
            console.print(f"{run.run_id} is not finished")
    table = Table("metric", *(one.run_id for one in found), box=box.SIMPLE_HEAD)
    for name in dict.fromkeys(name for one in found for name in one.metrics):
        table.add_row(name, *(_metric(one, name) for one in found))
    if found:
        console.print(table)
    if len({one.dataset_digest for one in found}) > 1:
        console.print("their data differ: each was judged by rows of its own")


def _curves(console: "Console", runs: "tuple[Run, ...]") -> None:
    for name in dict.fromkeys(name for run in runs for name in run.curves):
        for run in runs:
            if points := run.curves.get(name):
                first, last = points[0][1], points[-1][1]
                told = f"{name:18} {run.run_id:24} {_line(points)}"
                console.print(f"{told} {first:.4g} to {last:.4g}", soft_wrap=True)


def _line(points: "Points") -> str:
    """A curve in one line of characters, from its own least to its own most."""
    from chimera.workers.training.comparison import thinned

    values = thinned(points, WIDTH)
    least, most = min(values), max(values)
    steps = (len(LEVELS) - 1) / (most - least) if most > least else 0.0
    return "".join(LEVELS[round((value - least) * steps)] for value in values).ljust(WIDTH)


def _draw(runs: "tuple[Run, ...]", path: Path) -> None:
    try:
        from chimera.cli.training.curve_plot import draw
    except ImportError:
        typer.echo("chimera train: the plot needs matplotlib: chimera-stream[plot]", err=True)
        raise typer.Exit(1) from None
    draw(runs, path)
    typer.echo(f"drawn: {path}")


def _metric(found: "TrainingManifest", name: str) -> str:
    value, interval = found.metrics.get(name), found.intervals.get(name)
    sure = f" ({interval.low:.4g} to {interval.high:.4g})" if interval else ""
    return "" if value is None else f"{value:.4g}{sure}"


def _shown(value: object) -> str:
    return "" if value is None else str(value)
