"""`chimera train submit`, `watch`, `cancel`, `resume`, `allow`: runs of training agents.

The first three publish a record on `training.triggers` and wait for its answer; rights stand in the
registry. `register(app)` adds them to `chimera train`. `tests/cli/test_train_agent.py`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from chimera.schemas.training_events import TriggerAnswered

NO_ANSWER = 2

RunId = Annotated[str, typer.Argument(help="Of the run.")]
Tenant = Annotated[str, typer.Option(help="Whose run it is.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the answer.")]
Bootstrap = Annotated[str | None, typer.Option(help="Kafka's host:port; wins over the setting.")]


def register(app: typer.Typer) -> None:
    """Add all five to an app."""
    for command in (submit, watch, cancel, resume, allow):
        app.command()(command)


def submit(
    config: Annotated[Path, typer.Argument(help="YAML or JSON.")],
    priority: Annotated[int, typer.Option(min=1, max=9, help="1 goes first.")] = 5,
    promote: Annotated[bool, typer.Option(help="Compile and promote what comes of it.")] = False,
    follow: Annotated[bool, typer.Option("--watch", help="Stay, and show it.")] = False,
    timeout: Timeout = 10.0,
    tenant: Tenant = "default",
    bootstrap: Bootstrap = None,
) -> None:
    """Order a run of a training agent. Exit 1: refused, 2: no answer in time."""
    from chimera.cli.refusals import told

    with told("train"):
        from chimera.schemas.training_config import load

        wanted = load(config)
    fields = {"config": wanted, "priority": priority, "promote": promote}
    answer = _give("TrainModel", fields, timeout, tenant, bootstrap)
    typer.echo(f"run {answer.run_id} is queued")
    if follow:
        watch(str(answer.run_id), bootstrap)


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
    _give("CancelRun", {"run_id": run_id}, timeout, tenant, bootstrap)
    typer.echo(f"run {run_id} is cancelled")


def resume(
    run_id: RunId, timeout: Timeout = 10.0, tenant: Tenant = "default", bootstrap: Bootstrap = None
) -> None:
    """Go on with a run that failed or was cancelled. Exits as `submit`."""
    _give("ResumeRun", {"run_id": run_id}, timeout, tenant, bootstrap)
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


def _give(
    kind: str, fields: dict[str, Any], timeout_s: float, tenant: str, bootstrap: str | None
) -> "TriggerAnswered":
    import asyncio
    import uuid

    from chimera.cli import refusals

    with refusals.told("train"):
        from chimera.cli.models.actor import actor
        from chimera.cli.progress import waiting
        from chimera.cli.stack.stack import find_bootstrap
        from chimera.cli.training.triggering import give
        from chimera.schemas import training_triggers
        from chimera.schemas.settings import load

        trigger = getattr(training_triggers, kind)(
            trigger_id=uuid.uuid4().hex, tenant=tenant, actor=actor(), **fields
        )
        settings = load()
        where = bootstrap or find_bootstrap(settings)
        with waiting("waiting for the answer"):
            answer = asyncio.run(give(settings, where, trigger, timeout_s))
    if answer is None:
        typer.echo(
            f"chimera train: no answer to {trigger.trigger_id} within {timeout_s:g} s; it is done "
            "when a training agent runs: `chimera trainer`",
            err=True,
        )
        raise typer.Exit(NO_ANSWER)
    for reason in answer.reasons:
        typer.echo(f"chimera train: refused: {reason}", err=True)
    if answer.outcome != "accepted":
        raise typer.Exit(1)
    return answer
