"""`chimera models deploy`, `promote`, `rollback`, `pause`, `resume`: commands for the controller.

Each publishes one record on `models.commands` and waits for its answer: nothing is done here.
`register(app)` adds them to `chimera models`. `tests/cli/test_model_commands.py`.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chimera.cli.models import watch_options as options

if TYPE_CHECKING:
    from chimera.schemas.model_commands import Command
    from chimera.schemas.model_events import CommandAnswered

NO_ANSWER = 2

Model = Annotated[str, typer.Argument(help="The model's name.")]
Version = Annotated[str, typer.Argument(help="Registered and compiled.")]
Reason = Annotated[str, typer.Option(help="Why; it stands in the history and in the event.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the answer.")]
Tenant = Annotated[str, typer.Option(help="Whose model it is.")]
Bootstrap = Annotated[str | None, typer.Option(help="Kafka's host:port; wins over the setting.")]


def register(app: typer.Typer) -> None:
    """Add all five to an app."""
    for command in (deploy, promote, rollback, pause, resume):
        app.command()(command)


def deploy(
    model: Model,
    version: Version,
    weight: Annotated[
        float | None, typer.Option(help="Share of the requests, 0.01 to 1; unset: all of them.")
    ] = None,
    shadow: Annotated[
        float | None,
        typer.Option(
            help="Answer nothing, compute this share of what is answered, to be compared: 0.01 to 1."
        ),
    ] = None,
    watch: options.Seconds = None,
    min_requests: options.MinRequests = None,
    max_error_rate: options.MaxErrorRate = None,
    max_p99_ratio: options.MaxP99Ratio = None,
    max_disagreement: options.MaxDisagreement = None,
    reason: Reason = "",
    timeout: Timeout = 10.0,
    tenant: Tenant = "default",
    bootstrap: Bootstrap = None,
) -> None:
    """Give VERSION requests, or let it shadow what serves. Exit 1: refused, 2: no answer in time.

    It is watched if --watch or a limit is given.
    """
    if weight is not None and shadow is not None:
        raise typer.BadParameter("a version answers (--weight) or shadows (--shadow), not both")
    fields: dict[str, Any] = {"version": version, "shadow_share": shadow}
    if weight is not None:
        fields["weight"] = weight
    fields |= options.watch(watch, min_requests, max_error_rate, max_p99_ratio, max_disagreement)
    _give("DeployModel", fields, model, reason, timeout, tenant, bootstrap)


def promote(
    model: Model,
    version: Annotated[
        str | None, typer.Argument(help="Unset: the one that was deployed beside it.")
    ] = None,
    watch: options.Seconds = None,
    no_watch: options.NoWatch = False,
    min_requests: options.MinRequests = None,
    max_error_rate: options.MaxErrorRate = None,
    max_p99_ratio: options.MaxP99Ratio = None,
    max_disagreement: options.MaxDisagreement = None,
    reason: Reason = "",
    timeout: Timeout = 10.0,
    tenant: Tenant = "default",
    bootstrap: Bootstrap = None,
) -> None:
    """Give VERSION all requests, under watch; what served is kept for a way back. Exits as `deploy`."""
    fields: dict[str, Any] = {
        "version": version,
        **options.watch(
            watch,
            min_requests,
            max_error_rate,
            max_p99_ratio,
            max_disagreement,
            no_watch=no_watch,
        ),
    }
    _give("PromoteModel", fields, model, reason, timeout, tenant, bootstrap)


def rollback(
    model: Model,
    version: Annotated[
        str | None, typer.Argument(help="Unset: what served before, or without the candidate.")
    ] = None,
    reason: Reason = "",
    timeout: Timeout = 10.0,
    tenant: Tenant = "default",
    bootstrap: Bootstrap = None,
) -> None:
    """Go back to what served before, or to VERSION. Exits as `deploy`."""
    _give("RollBackModel", {"version": version}, model, reason, timeout, tenant, bootstrap)


def pause(
    model: Model,
    reason: Reason = "",
    timeout: Timeout = 10.0,
    tenant: Tenant = "default",
    bootstrap: Bootstrap = None,
) -> None:
    """Let requests of MODEL wait. Exits as `deploy`."""
    _give("PauseModel", {}, model, reason, timeout, tenant, bootstrap)


def resume(
    model: Model,
    reason: Reason = "",
    timeout: Timeout = 10.0,
    tenant: Tenant = "default",
    bootstrap: Bootstrap = None,
) -> None:
    """Compute them again. Exits as `deploy`."""
    _give("ResumeModel", {}, model, reason, timeout, tenant, bootstrap)


# The options that all five share come one by one.
def _give(
    kind: str,
    fields: dict[str, Any],
    model: str,
    reason: str,
    timeout_s: float,
    tenant: str,
    bootstrap: str | None,
) -> None:
    import asyncio
    import uuid

    from chimera.cli import refusals
    from chimera.cli.models.actor import actor
    from chimera.cli.models.commanding import give, unanswered
    from chimera.cli.progress import waiting
    from chimera.cli.stack.stack import find_bootstrap
    from chimera.schemas import model_commands
    from chimera.schemas.settings import load

    command: Command = getattr(model_commands, kind)(
        command_id=uuid.uuid4().hex,
        tenant=tenant,
        model=model,
        actor=actor(),
        reason=reason,
        **fields,
    )
    with refusals.told("models"):
        settings = load()
        where = bootstrap or find_bootstrap(settings)
        with waiting("waiting for the answer"):
            answer = asyncio.run(give(settings, where, command, timeout_s))
        if answer is None:
            told = asyncio.run(unanswered(settings, command.command_id))
            behind = "; a deploy or promote waits for what registers or compiles its version"
            typer.echo(f"chimera models: {told}{behind}", err=True)
            raise typer.Exit(NO_ANSWER)
    _show(answer)


def _show(answer: "CommandAnswered") -> None:
    what = " ".join(filter(None, (answer.action, answer.model, answer.version)))
    if answer.outcome != "done":
        typer.echo(f"chimera models: {what}: {answer.outcome}: {answer.error}", err=True)
        raise typer.Exit(1)
    typer.echo(f"{what}: done, revision {answer.revision}")
