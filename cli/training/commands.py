"""`chimera train submit`, `watch`, `cancel`, `resume`, `allow`: runs of training agents.

`submit`, `cancel` and `resume` publish a record on `training.triggers` and wait for its answer; rights stand in the
registry. `register(app)` adds them to `chimera train`. `tests/cli/test_train_agent.py`.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from chimera.cli.training import policies
from chimera.cli.training.asking import ask
from chimera.cli.training.tenant import Tenant

RunId = Annotated[str, typer.Argument(help="Of the run.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the answer.")]
Bootstrap = Annotated[str | None, typer.Option(help="Kafka's host:port; wins over the setting.")]


def register(app: typer.Typer) -> None:
    """Add them to an app."""
    for command in (submit, watch, cancel, resume, allow):
        app.command()(command)
    app.add_typer(policies.app, name="policies")


def submit(
    config: Annotated[Path, typer.Argument(help="YAML or JSON.")],
    priority: Annotated[int, typer.Option(min=1, max=9, help="1 goes first.")] = 5,
    promote: Annotated[bool, typer.Option(help="Compile and promote what comes of it.")] = False,
    follow: Annotated[bool, typer.Option("--watch", help="Stay, and show it.")] = False,
    every: Annotated[
        str | None, typer.Option(help="Not now, but each 6h, 7d, ...; a policy.")
    ] = None,
    on: Annotated[
        str | None, typer.Option(help="`drift`: not now, but when data have drifted; a policy.")
    ] = None,
    cool_down: Annotated[
        str, typer.Option(help="With --on: from one to the next, at least.")
    ] = "1h",
    served: Annotated[
        str | None,
        typer.Option(help="With --on: what is served, too; a folder of `chimera ingest`'s rows."),
    ] = None,
    since: Annotated[
        str, typer.Option(help="With --served: of so long, and looked at as often.")
    ] = "1d",
    policy: Annotated[
        str | None, typer.Option(help="The policy's name; unset: the model's, and its kind.")
    ] = None,
    timeout: Timeout = 10.0,
    tenant: Tenant = "default",
    bootstrap: Bootstrap = None,
) -> None:
    """Order a run of a training agent, now or by a policy. Exit 1: refused, 2: no answer in time."""
    from chimera.cli.refusals import told

    again = _policy(every, on, cool_down) | _served(served, since, on)
    if again and follow:
        raise typer.BadParameter("there is nothing to watch yet", param_hint="--watch")
    with told("train"):
        from chimera.cli.training.placing import placed
        from chimera.schemas.training_config import load

        wanted = placed(load(config), config.parent)
    fields: dict[str, Any] = {"config": wanted, "priority": priority, "promote": promote}
    if again:
        name = policy or f"{wanted.name}-{again['cause']}"
        ask("SetPolicy", {**fields, **again, "policy": name}, timeout, tenant, bootstrap)
        typer.echo(f"policy {name} is set: `chimera train policies show {name}`")
        return
    answer = ask("TrainModel", fields, timeout, tenant, bootstrap)
    typer.echo(f"run {answer.run_id} is queued")
    if follow:
        watch(str(answer.run_id), bootstrap)


def _policy(every: str | None, on: str | None, cool_down: str) -> dict[str, Any]:
    """Fields of a policy; none: a run is wanted now. Raises BadParameter."""
    from chimera.cli.models.moments import seconds

    if on not in (None, "drift"):
        raise typer.BadParameter(f"{on!r} is none of: drift", param_hint="--on")
    if on and every:
        raise typer.BadParameter("either --on or --every: a policy has one cause")
    if on:
        return {"cause": "drift", "interval_s": seconds(cool_down)}
    return {"cause": "schedule", "interval_s": seconds(every)} if every else {}


def _served(served: str | None, since: str, on: str | None) -> dict[str, Any]:
    """Fields of a policy that looks at what is served. Raises BadParameter."""
    from chimera.cli.models.moments import seconds
    from chimera.cli.training.placing import url

    if served is None:
        return {}
    if on is None:
        raise typer.BadParameter("goes with --on drift", param_hint="--served")
    from chimera.schemas.training_triggers import ServedRows

    return {"served": ServedRows(url=url(served, Path()), since_s=seconds(since))}


def watch(run_id: RunId, bootstrap: Bootstrap = None) -> None:
    """Show a run while it goes on, until it has ended. Exit 1: it failed, or was cancelled."""
    import asyncio

    from chimera.cli.refusals import told

    with told("train"):
        from chimera.cli.stack.stack import find_bootstrap
        from chimera.cli.training.watching import follow
        from chimera.schemas.settings import load

        settings = load()
        is_good = asyncio.run(follow(settings, bootstrap or find_bootstrap(settings), run_id))
    if not is_good:
        raise typer.Exit(1)


def cancel(
    run_id: RunId, timeout: Timeout = 10.0, tenant: Tenant = "default", bootstrap: Bootstrap = None
) -> None:
    """End a run, or take it out of the queue; it can be resumed. Exits as `submit`."""
    ask("CancelRun", {"run_id": run_id}, timeout, tenant, bootstrap)
    typer.echo(f"run {run_id} is cancelled")


def resume(
    run_id: RunId, timeout: Timeout = 10.0, tenant: Tenant = "default", bootstrap: Bootstrap = None
) -> None:
    """Go on with a run that failed or was cancelled. Exits as `submit`."""
    ask("ResumeRun", {"run_id": run_id}, timeout, tenant, bootstrap)
    typer.echo(f"run {run_id} is queued")


def allow(
    actor: Annotated[
        str | None, typer.Argument(help="NAME@MACHINE; * for any characters; unset: you.")
    ] = None,
    train: Annotated[bool, typer.Option(help="May order, cancel and resume runs.")] = False,
    promote: Annotated[bool, typer.Option(help="May have their versions promoted.")] = False,
    revoke: Annotated[bool, typer.Option(help="May not any more.")] = False,
    tenant: Tenant = "default",
) -> None:
    """Give rights, or take them; without one, show them all."""
    import asyncio

    from chimera.cli.refusals import told

    with told("train"):
        from chimera.cli.models.actor import actor as own
        from chimera.cli.training.allowing import change

        who = actor or own()
        wanted = [name for name, is_meant in (("train", train), ("promote", promote)) if is_meant]
        rights = asyncio.run(change(tenant, who, wanted, own(), revoke=revoke))
    for name in ("train", "promote"):
        typer.echo(f"{name:8} {', '.join(getattr(rights, name)) or 'nobody'}")
