"""`chimera models replay`: recorded requests through a version, against what was served. A verdict.

Nothing becomes visible, no offset is committed, no group is joined: it may run beside what serves.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chimera.cli.models.shown import AsJson

if TYPE_CHECKING:
    from chimera.schemas.replay_report import ReplayReport

STATUS = {"passed": 0, "failed": 1, "undecided": 2}


def replay(
    name: Annotated[str, typer.Argument(help="The model.")],
    version: Annotated[str, typer.Argument(help="Registered and compiled.")],
    since: Annotated[
        str, typer.Option(help="From when on: so long ago (15m, 1h, 7d), or ISO 8601.")
    ] = "1h",
    until: Annotated[str | None, typer.Option(help="Up to when, likewise; unset: now.")] = None,
    max_requests: Annotated[int, typer.Option(min=1, help="Replay no more than so many.")] = 10_000,
    served_version: Annotated[
        str | None, typer.Option(help="Compare with what this version answered; unset: with any.")
    ] = None,
    min_requests: Annotated[
        int | None, typer.Option(min=0, help="Fewer decide nothing. [default: policy's, or 500]")
    ] = None,
    max_disagreement: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share. [default: policy's, or 0.01]")
    ] = None,
    max_error_rate: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Where there was none. [default: policy's, or 0.01]"),
    ] = None,
    max_p99_ratio: Annotated[
        float | None,
        typer.Option(min=0, help="Of compute; 0: not judged. [default: policy's, or 3]"),
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka's host:port; wins over the setting.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run recorded requests through VERSION. Exit 0: passed, 1: failed, 2: too few to tell."""
    limits = {
        "min_requests": min_requests,
        "max_disagreement": max_disagreement,
        "max_error_rate": max_error_rate,
        "max_p99_ratio": max_p99_ratio,
    }
    given: dict[str, Any] = {key: value for key, value in limits.items() if value is not None}
    if max_p99_ratio == 0:
        given["max_p99_ratio"] = None
    report = _run(name, version, since, until, max_requests, served_version, given, bootstrap)
    if as_json:
        from chimera.cli.models.views import as_text

        typer.echo(as_text(report))
    else:
        from chimera.cli.models import replay_table

        replay_table.show(report)
    raise typer.Exit(STATUS[report.verdict])


# The options come one by one.
def _run(
    name: str,
    version: str,
    since: str,
    until: str | None,
    max_requests: int,
    served_version: str | None,
    limits: dict[str, Any],
    bootstrap: str | None,
) -> "ReplayReport":
    import asyncio
    import time

    from chimera.agents.replaying.rehearsal import Asked
    from chimera.cli import logs, refusals
    from chimera.cli.models import moments
    from chimera.cli.models.replaying import replay
    from chimera.cli.progress import counting
    from chimera.cli.stack.stack import find_bootstrap
    from chimera.schemas.settings import load

    now_ms = time.time_ns() // 1_000_000
    asked = Asked(
        model=name,
        version=version,
        since_ms=moments.moment_ms(since, now_ms),
        until_ms=now_ms if until is None else moments.moment_ms(until, now_ms),
        max_requests=max_requests,
        served_version=served_version,
        limits=limits,
    )
    with refusals.told("models"):
        settings = load()
        quiet = settings.observability.model_copy(update={"log_level": "error"})
        settings = settings.model_copy(update={"observability": quiet})
        logs.configure(quiet)
        with counting("requests") as show:
            return asyncio.run(replay(settings, bootstrap or find_bootstrap(settings), asked, show))
