"""`chimera topics`: the catalogue, its comparison with a broker, and its AsyncAPI document."""

# pyright: reportMissingTypeStubs=false
# (aiokafka ships no type information)

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Never

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka.client import AIOKafkaClient

    from chimera.schemas.settings import Settings
    from chimera.topics.catalogue import Catalogue
    from chimera.topics.differences import Difference

app = typer.Typer(no_args_is_help=True, help="The topics: list, compare with a broker, document.")


@app.command("list")
def list_topics() -> None:
    """Show every topic that the settings describe; asks no broker."""
    from rich.table import Table

    _, catalogue = _catalogue()
    table = Table("topic", "partitions", "kept", "limit", "key", "record", box=None)
    for topic in catalogue:
        table.add_row(
            topic.name,
            str(topic.partitions),
            "last of each key" if topic.cleanup == "compact" else _days(topic.retention_ms),
            f"{topic.max_message_bytes / 1024:,.0f} KiB",
            topic.key,
            topic.record if topic.in_use else f"(not written yet) {topic.record}",
        )
    _print(table)


@app.command()
def sync(
    apply: Annotated[
        bool, typer.Option("--apply", help="Create, add partitions, configure.")
    ] = False,
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka's host:port; wins over the setting.")
    ] = None,
) -> None:
    """Compare the broker with the catalogue; change nothing unless --apply. Exit 1: they differ.

    So they do where requests wait on a retry topic that the settings no longer name.
    """
    import asyncio

    from chimera.schemas.errors import ChimeraError

    settings, catalogue = _catalogue()
    try:
        are_same = asyncio.run(_sync(settings, catalogue, bootstrap, apply))
    except ChimeraError as error:
        _fail(str(error))
    if not are_same:
        raise typer.Exit(1)


@app.command()
def asyncapi(
    check: Annotated[
        Path | None, typer.Option(help="Compare with this file. Exit 1: it differs.")
    ] = None,
) -> None:
    """Print the AsyncAPI 3 document of these settings."""
    import difflib

    from chimera.topics.asyncapi import encode

    _, catalogue = _catalogue()
    wanted = encode(catalogue)
    if check is None:
        typer.echo(wanted, nl=False)
        return
    try:
        found = check.read_text()
    except OSError as error:
        _fail(f"{check}: {error.strerror}")
    lines = difflib.unified_diff(
        found.splitlines(), wanted.splitlines(), str(check), "settings", lineterm="", n=1
    )
    if changed := list(lines):
        typer.echo("\n".join(changed))
        _fail(f"{check} is not the document of these settings")


async def _sync(
    settings: "Settings", catalogue: "Catalogue", bootstrap: str | None, apply: bool
) -> bool:
    from chimera.topics import admin, clients, stranded

    if bootstrap is None:
        from chimera.cli.stack.stack import find_bootstrap

        bootstrap = find_bootstrap(settings)
    arguments = clients.consumer_arguments(settings.kafka, bootstrap, "chimera-admin")
    async with admin.connected(settings.kafka, bootstrap) as client:
        left = await _compare(client, catalogue, apply)
        waiting = await stranded.stranded(client, catalogue, settings.kafka.group, arguments)
    for one in waiting:
        typer.echo(f"{one}: {stranded.ADVICE}")
    return not left and not waiting


async def _compare(
    client: "AIOKafkaClient", catalogue: "Catalogue", apply: bool
) -> "Sequence[Difference]":
    from chimera.topics import admin

    found = await admin.plan(client, catalogue)
    _show(found, len(list(catalogue)))
    if not apply or not any(one.remedy for one in found):
        return found
    left = await admin.apply(client, catalogue, found)
    typer.echo(f"{len(found) - len(left)} of {len(found)} differences are gone")
    if left:
        _show(left, len(list(catalogue)))
    return left


def _show(differences: "Sequence[Difference]", topics: int) -> None:
    from rich.table import Table

    if not differences:
        typer.echo(f"the broker has all {topics} topics as they should be")
        return
    table = Table("topic", "property", "is", "should be", "--apply does", box=None)
    for one in differences:
        table.add_row(one.topic.name, one.what, one.found, one.wanted, one.remedy or one.advice)
    _print(table)


def _catalogue() -> "tuple[Settings, Catalogue]":
    from chimera.schemas.errors import ConfigurationError
    from chimera.schemas.settings import load
    from chimera.topics.catalogue import catalogue

    try:
        settings = load()
        return settings, catalogue(settings)
    except ConfigurationError as error:
        _fail(str(error))


def _print(table: object) -> None:
    """As wide as the terminal; never cut where the output goes to a file."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 400
    console.print(table, highlight=False)


def _days(retention_ms: int) -> str:
    return "for ever" if retention_ms < 0 else f"{retention_ms / 86_400_000:.0f} days"


def _fail(message: str) -> Never:
    typer.echo(f"chimera topics: {message}", err=True)
    raise typer.Exit(1)
