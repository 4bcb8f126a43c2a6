"""`chimera train`: runs in this machine's folder of runs, and those of agents in the registry.

What is ordered of agents is in `commands`. `tests/cli/test_train.py`, `test_train_tenant.py`, `test_train_agent.py`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chimera.cli.training import commands, compare, gate, manifest, prune, reference
from chimera.cli.training.finished import find, finished, known, of_model
from chimera.cli.training.tenant import Tenant
from chimera.cli.training.tenant import runs as runs_of

if TYPE_CHECKING:
    from chimera.schemas.training_manifest import TrainingManifest
    from chimera.workers.training.history import Place

app = typer.Typer(
    no_args_is_help=True, help="Training: run a configuration, look at what came of it."
)

app.command()(compare.compare)
app.command()(gate.gate)
app.command()(manifest.manifest)
app.command()(prune.prune)
app.command()(reference.reference)
commands.register(app)

RunId = Annotated[str, typer.Argument(help="Of the run.")]
Metric = Annotated[str, typer.Option(help="What counts.")]
Largest = Annotated[bool, typer.Option("--max", help="The largest is the best, not the smallest.")]


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="YAML or JSON.")],
    run_id: Annotated[str | None, typer.Option(help="Unset: name and time.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with a run that was ended.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="Of this machine, under torchrun.")] = 1,
    restarts: Annotated[int, typer.Option(min=0, help="Of all, when one of several dies.")] = 3,
) -> None:
    """Train here and now, and show what came of it."""
    import time

    from chimera.cli.refusals import told
    from chimera.cli.training.placing import placed
    from chimera.cli.training.progress import shown
    from chimera.schemas.settings import load
    from chimera.schemas.training_config import load as load_config

    with told("train"):
        settings, wanted = load(), placed(load_config(config), config.parent)
        name = run_id or f"{wanted.name}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
        from chimera.cli.training import running

        asked = running.Asked(wanted, name, resume, processes, restarts)
        with shown(wanted.loop.epochs) as listener:
            found = running.train(settings, asked, listener)
    _show(found)
    typer.echo(f"run {name} is in {settings.training.dir / name}")


@app.command()
def runs(tenant: Tenant = "default") -> None:
    """Runs of training agents, and all that finished here; the newest first."""
    from rich.console import Console

    from chimera.cli.refusals import told

    with told("train"):
        from chimera.cli.training import listing

        local = sorted(finished(tenant), key=lambda one: -one.started_ms)
        Console().print(listing.table(listing.registered(tenant), local))


@app.command()
def show(run_id: RunId, tenant: Tenant = "default") -> None:
    """One run: its data, metrics and how sure they are, and what its data differ in."""
    from chimera.cli.refusals import told

    with told("train"):
        from chimera.cli.training import listing

        ordered = listing.find(run_id, tenant)
    if ordered is None:
        _show(find(run_id, tenant))
        return
    for line in listing.lines(ordered):
        typer.echo(line)
    if ordered.manifest is not None:
        _show(ordered.manifest)


@app.command()
def leaderboard(
    metric: Metric = "eval_mse",
    largest: Largest = False,
    name: Annotated[str | None, typer.Option(help="Of the model; unset: there is one.")] = None,
    tenant: Tenant = "default",
) -> None:
    """A model's runs that have a metric, best first; it is written to leaderboard.json as well."""
    from chimera.cli.refusals import told
    from chimera.workers.training import history

    with told("train"):
        found = of_model(known(tenant), name)
    places = history.build_leaderboard(found, metric, "max" if largest else "min")
    for one in places:
        typer.echo(_line(one))
    if places:
        typer.echo(str(history.write_leaderboard(runs_of(tenant), places)))


def _show(found: "TrainingManifest") -> None:
    typer.echo(f"{found.name}, run {found.run_id}, {found.updates} updates in {found.duration_s} s")
    typer.echo(
        f"data {found.dataset_digest[:12]}: {found.rows['train']} rows, {found.rows['validation']}"
        f" held out, {found.rows['quarantined']} in quarantine, {found.rows.get('dropped', 0)} dropped"
    )
    for name, value in found.metrics.items():
        interval = found.intervals.get(name)
        sure = f"   {interval.low:.4g} to {interval.high:.4g}" if interval else ""
        typer.echo(f"  {name:20} {value:.4g}{sure}")
    for one in (one for one in found.drift_from_previous if one.is_drift):
        if one.test in ("appeared", "vanished"):
            typer.echo(f"  drift from {found.previous_run_id}: {one.column} has {one.test}")
            continue
        typer.echo(
            f"  drift from {found.previous_run_id}: {one.column}, {one.test} p {one.p_value:.2g},"
            f" mean moved by {one.mean_delta:+.2f} sigma, PSI {one.psi:.2f}"
        )


def _line(one: "Place") -> str:
    sure = f" ({one.interval.low:.4g} to {one.interval.high:.4g})" if one.interval else ""
    tied = ", as good as the first" if one.is_tied else ""
    other = ", other data" if one.is_other_data else ""
    return f"{one.rank:3} {one.run_id:32} {one.value:.4g}{sure}{tied}{other}"
