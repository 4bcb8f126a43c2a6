"""`chimera train`: runs in this machine's folder of runs, and those of agents in the registry.

What is ordered of agents is in `commands`. `tests/cli/test_train.py`, `test_train_agent.py`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.training import commands

if TYPE_CHECKING:
    from chimera.schemas.training_manifest import TrainingManifest
    from chimera.workers.training.history import Place

app = typer.Typer(
    no_args_is_help=True, help="Training: run a configuration, look at what came of it."
)

commands.register(app)

RunId = Annotated[str, typer.Argument(help="Of the run.")]
Metric = Annotated[str, typer.Option(help="What counts.")]
Largest = Annotated[bool, typer.Option("--max", help="The largest is the best, not the smallest.")]


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="YAML or JSON.")],
    run_id: Annotated[str | None, typer.Option(help="Unset: name and time.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with a run that was ended.")] = False,
) -> None:
    """Train here and now, and show what came of it."""
    import time

    from chimera.cli.refusals import told
    from chimera.cli.training.progress import shown
    from chimera.schemas.settings import load
    from chimera.schemas.training_config import load as load_config

    with told("train"):
        settings, wanted = load().training, load_config(config)
        name = run_id or f"{wanted.name}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
        from chimera.workers.training.run import Where, train

        where = Where(
            runs=settings.dir, run_id=name, allowed=settings.allowed, device=settings.device
        )
        with shown(wanted.loop.epochs) as listener:
            manifest = train(wanted, where, resume=resume, listeners=(listener,))
    _show(manifest)
    typer.echo(f"run {name} is in {where.folder}")


@app.command()
def runs() -> None:
    """Runs of training agents, and all that finished here; the newest first."""
    from rich.console import Console

    from chimera.cli.training import listing

    local = sorted(_finished(), key=lambda one: -one.started_ms)
    Console().print(listing.table(listing.registered(), local))


@app.command()
def show(run_id: RunId) -> None:
    """One run: its data, metrics and how sure they are, and what its data differ in."""
    from chimera.cli.training import listing

    ordered = listing.find(run_id)
    if ordered is None:
        _show(_find(run_id))
        return
    for line in listing.lines(ordered):
        typer.echo(line)
    if ordered.manifest is not None:
        _show(ordered.manifest)


@app.command()
def manifest(run_id: RunId) -> None:
    """One run's manifest, as JSON."""
    from chimera.schemas.training_manifest import encode_manifest

    typer.echo(encode_manifest(_find(run_id)).decode())


@app.command()
def leaderboard(metric: Metric = "eval_mse", largest: Largest = False) -> None:
    """Runs that have a metric, best first; it is written to leaderboard.json as well."""
    from chimera.schemas.settings import load
    from chimera.workers.training import history

    places = history.build_leaderboard(_finished(), metric, "max" if largest else "min")
    for one in places:
        typer.echo(_line(one))
    if places:
        typer.echo(str(history.write_leaderboard(load().training.dir, places)))


@app.command()
def gate(
    run_id: RunId,
    metric: Metric = "eval_mse",
    largest: Largest = False,
    least: Annotated[float | None, typer.Option(help="The metric must reach this.")] = None,
    drift: Annotated[bool, typer.Option(help="Refuse a run whose data have drifted.")] = False,
) -> None:
    """Pick or refuse a run, for CI. Exit 1: refused, with every reason."""
    candidate = _find(run_id)
    value = candidate.metrics.get(metric)
    reasons: list[str] = []
    if value is None:
        reasons.append(f"it has no {metric}")
    elif least is not None and (value < least if largest else value > least):
        reasons.append(f"{metric} {value:g} does not reach {least:g}")
    if drift and (columns := [one.column for one in candidate.drift_from_previous if one.is_drift]):
        reasons.append(f"its data have drifted in {', '.join(columns[:8])}")
    for reason in reasons:
        typer.echo(f"{run_id}: {reason}", err=True)
    if reasons:
        raise typer.Exit(1)
    typer.echo(f"{run_id}: taken, {metric} {value:g}")


def _finished() -> "list[TrainingManifest]":
    from chimera.schemas.settings import load
    from chimera.workers.training import history

    return list(history.read(load().training.dir))


def _find(run_id: str) -> "TrainingManifest":
    found = next((one for one in _finished() if one.run_id == run_id), None)
    if found is None:
        typer.echo(f"chimera train: there is no finished run {run_id}", err=True)
        raise typer.Exit(1)
    return found


def _show(found: "TrainingManifest") -> None:
    typer.echo(f"{found.name}, run {found.run_id}, {found.updates} updates in {found.duration_s} s")
    typer.echo(
        f"data {found.dataset_digest[:12]}: {found.rows['train']} rows, {found.rows['validation']}"
        f" held out, {found.rows['quarantined']} in quarantine"
    )
    for name, value in found.metrics.items():
        interval = found.intervals.get(name)
        sure = f"   {interval.low:.4g} to {interval.high:.4g}" if interval else ""
        typer.echo(f"  {name:20} {value:.4g}{sure}")
    for one in (one for one in found.drift_from_previous if one.is_drift):
        typer.echo(
            f"  drift from {found.previous_run_id}: {one.column}, {one.test} p {one.p_value:.2g},"
            f" mean moved by {one.mean_delta:+.2f} sigma, PSI {one.psi:.2f}"
        )


def _line(one: "Place") -> str:
    sure = f" ({one.interval.low:.4g} to {one.interval.high:.4g})" if one.interval else ""
    tied = ", as good as the first" if one.is_tied else ""
    return f"{one.rank:3} {one.run_id:32} {one.value:.4g}{sure}{tied}"
