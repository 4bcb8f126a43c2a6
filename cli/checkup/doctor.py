"""`chimera doctor`: is everything as it should be, and what to do about what is not."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chimera.cli.checkup.findings import Finding
    from chimera.schemas.settings import Settings


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka's host:port; wins over the setting.")
    ] = None,
) -> None:
    """Check this machine and the cluster; send a probe request when a node runs.

    Exit 1: something failed; each failure says what to do.
    """
    import asyncio

    from chimera.cli.checkup import findings
    from chimera.cli.progress import waiting
    from chimera.schemas.errors import ConfigurationError
    from chimera.schemas.settings import load

    try:
        settings = load()
    except ConfigurationError as error:
        found = [
            findings.failed("settings", str(error), "correct that setting; `chimera settings`")
        ]
    else:
        with waiting("looking"):
            found = [
                findings.ok("settings", "environment and file are read"),
                *asyncio.run(_examine(settings, bootstrap)),
            ]
    if as_json:
        typer.echo(findings.as_json(found))
    else:
        findings.show(found)
    if not findings.is_well(found):
        raise typer.Exit(1)


async def _examine(settings: "Settings", bootstrap: str | None) -> "list[Finding]":
    import asyncio

    from chimera.cli import logs
    from chimera.cli.checkup import cluster as doctor_cluster
    from chimera.cli.checkup import devices as doctor_devices
    from chimera.cli.checkup import host as doctor_host
    from chimera.cli.checkup import postgres as doctor_postgres
    from chimera.cli.stack import state as stack_state

    quiet = settings.observability.model_copy(update={"log_level": "error"})
    logs.configure(quiet)
    runs = stack_state.read(settings.stack.dir) is not None
    host = await asyncio.to_thread(lambda: list(doctor_host.check(settings, stack_runs=runs)))
    devices = await asyncio.to_thread(lambda: list(doctor_devices.check(settings)))
    executors = await doctor_devices.check_executors(settings)
    registry = await doctor_postgres.check(settings.postgres)
    return [
        *host,
        *devices,
        *executors,
        *registry,
        *await doctor_cluster.check(settings, bootstrap),
    ]
