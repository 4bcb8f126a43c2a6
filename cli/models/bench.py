"""`chimera models bench`: the tiers of a registered version measured here; or a compile report again.

Either as a table, as bars on the terminal and as a picture. `tests/cli/test_models.py` shows reports,
`tests/cli/test_models_registry.py` measures what a registry names.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Never

import typer

if TYPE_CHECKING:
    from chimera.schemas.compile_report import CompileReport, Step


def bench(
    model: Annotated[
        str,
        typer.Argument(
            help="A registered model's name; or a folder that `compile` made, or its report."
        ),
    ],
    version: Annotated[
        str | None, typer.Argument(help="Unset: the one that serves, else the newest.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="The PNG to draw; unset: tiers.png beside the report.")
    ] = None,
) -> None:
    """Measure a registered version's tiers on this machine, or show a report again.

    A table, bars, and a plot as PNG. How long and at which batch sizes: CHIMERA_COMPILING__MEASURE_S
    and CHIMERA_COMPILING__BATCH_SIZES. The report stays in the stack's folder.
    """
    from rich.console import Console

    from chimera.cli.models import tier_bars, tier_table

    if version is None and Path(model).exists():
        path, report = _read(Path(model))
    else:
        path, report = _measured(model, version)
    console = Console()
    tier_table.show(report, console)
    if not tier_table.measured_sizes(report):
        _fail(f"{path}: nothing was measured, there is nothing to draw")
    tier_bars.show(report, console)
    try:
        from chimera.cli.models.tier_plot import draw
    except ImportError:
        _fail("the plot needs matplotlib: install chimera-stream[plot]")
    picture = plot or path.with_name("tiers.png")
    draw(report, picture)
    typer.echo(f"drawn: {picture}")


def _measured(model: str, version: str | None) -> "tuple[Path, CompileReport]":
    import asyncio

    from chimera.cli.models import benching
    from chimera.cli.refusals import told
    from chimera.schemas.compile_report import REPORT_FILE, encode
    from chimera.schemas.settings import load

    with told("models"):
        settings = load()
        known = asyncio.run(benching.find(settings, model, version))
        report = benching.bench(settings, known, _tell)
    folder = settings.stack.dir.joinpath("benched", report.model, report.version)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / REPORT_FILE
    path.write_bytes(encode(report))
    return path, report


def _tell(step: "Step") -> None:
    typer.echo(f"{step.variant}: {step.stage}", err=True)


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
