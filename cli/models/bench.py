"""`chimera models bench`: a compile report again, as a table and as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Never

import typer

if TYPE_CHECKING:
    from chimera.schemas.compile_report import CompileReport


def bench(
    folder: Annotated[Path, typer.Argument(help="A folder that `compile` made, or its report.")],
    plot: Annotated[
        Path | None, typer.Option(help="The PNG to draw; unset: tiers.png beside the report.")
    ] = None,
) -> None:
    """Show the tiers of a report again: the table, and a plot of their times as PNG."""
    from rich.console import Console

    from chimera.cli.models import tier_table

    path, report = _read(folder)
    tier_table.show(report, Console())
    if not tier_table.measured_sizes(report):
        _fail(f"{path}: nothing was measured, there is nothing to draw")
    try:
        from chimera.cli.models.tier_plot import draw
    except ImportError:
        _fail("the plot needs matplotlib: install chimera-stream[plot]")
    picture = plot or path.with_name("tiers.png")
    draw(report, picture)
    typer.echo(f"drawn: {picture}")


def _read(folder: Path) -> "tuple[Path, CompileReport]":
    from chimera.schemas.compile_report import REPORT_FILE, decode
    from chimera.schemas.errors import ModelRefused

    path = folder / REPORT_FILE if folder.is_dir() else folder
    try:
        return path, decode(path.read_bytes(), str(path))
    except OSError as error:
        _fail(f"{path}: {error.strerror}; `chimera models compile` makes it")
    except ModelRefused as error:
        _fail(str(error))


def _fail(message: str) -> Never:
    typer.echo(f"chimera models: {message}", err=True)
    raise typer.Exit(1)
