"""`chimera sql`: a question to the warehouse, answered as a table, tab-separated or as JSON lines."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from chimera.stores.clickhouse import Answer


def sql(
    query: Annotated[str, typer.Argument(help="For example: SELECT count() FROM inference_log")],
    form: Annotated[
        Literal["table", "tsv", "json"], typer.Option("--format", help="How rows are written.")
    ] = "table",
) -> None:
    """Ask ClickHouse; nothing can be changed, and no file or address be read.

    A server of one's own, or a warehouse that runs, is asked over HTTP; without one, the embedded engine itself.
    """
    from chimera.cli.warehousing.engine import asked
    from chimera.schemas.errors import ChimeraError
    from chimera.schemas.settings import load

    try:
        with asked(load().clickhouse) as clickhouse:
            found = clickhouse.ask(query)
    except ChimeraError as error:
        typer.echo(f"chimera sql: {error}", err=True)
        raise typer.Exit(1) from None
    _write(found, form)


def _write(found: "Answer", form: str) -> None:
    if form == "json":
        for row in found.rows:
            print(json.dumps(dict(zip(found.names, row, strict=True)), default=_text))
    elif form == "tsv" or not found.names:
        for row in found.rows:
            print(*map(_text, row), sep="\t")
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(*found.names)
        for row in found.rows:
            table.add_row(*map(_text, row))
        Console(file=sys.stdout).print(table)


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
