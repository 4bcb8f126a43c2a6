"""`chimera models`: compile a version into its tiers, and show what they are worth.

Compiling loads torch and native code that was just made; it runs in this very process, which has
nothing else to lose.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Never

import typer

if TYPE_CHECKING:
    from chimera.schemas.compile_report import CompileReport
    from chimera.workers.compiling.attempts import Step

app = typer.Typer(no_args_is_help=True, help="Model versions: compile them, compare their tiers.")

Folder = Annotated[Path, typer.Argument(help="<models>/<name>/<version>, with its manifest.json.")]
Out = Annotated[
    Path | None,
    typer.Option(help="Where artifacts and report go; unset: compiled/ in the stack's folder."),
]


@app.command("compile")
def compile_version(
    folder: Folder,
    out: Out = None,
    tiers: Annotated[
        str, typer.Option(help="Comma-separated names, for example onnx-cpu,torch-cpu; all: nine.")
    ] = "all",
    device: Annotated[str, typer.Option(help="The GPU, if there is one.")] = "cuda:0",
) -> None:
    """Make each tier that this machine can, verify it, measure it. Exit 1: none is verified."""
    from rich.console import Console

    from chimera.cli import tier_table
    from chimera.schemas.errors import ChimeraError
    from chimera.schemas.settings import load
    from chimera.schemas.tiers import BY_NAME

    wanted = () if tiers == "all" else tuple(name.strip() for name in tiers.split(","))
    if unknown := [name for name in wanted if name not in BY_NAME]:
        raise typer.BadParameter(f"there is no tier {unknown[0]!r}, only {', '.join(BY_NAME)}")
    try:
        settings = load()
        target = out or settings.stack.dir / "compiled" / folder.parent.name / folder.name
        from chimera.workers.compiling.pipeline import Targets, compile

        targets = Targets(
            wanted,
            device,
            settings.serving.threads,
            settings.batching.max_batch_size,
            settings.artifacts.definitions,
        )
        report = compile(folder.absolute(), targets, target, settings.compiling, _tell)
    except ChimeraError as error:
        _fail(str(error))
    tier_table.show(report, Console())
    typer.echo(f"artifacts and report.json are in {target}")
    if not any(one.verdict == "verified" for one in report.tiers):
        raise typer.Exit(1)


@app.command()
def bench(
    folder: Annotated[Path, typer.Argument(help="A folder that `compile` made, or its report.")],
    plot: Annotated[
        Path | None, typer.Option(help="The PNG to draw; unset: tiers.png beside the report.")
    ] = None,
) -> None:
    """Show the tiers of a report again: the table, and a plot of their times as PNG."""
    from rich.console import Console

    from chimera.cli import tier_table

    path, report = _read(folder)
    tier_table.show(report, Console())
    if not tier_table.measured_sizes(report):
        _fail(f"{path}: nothing was measured, there is nothing to draw")
    try:
        from chimera.cli.tier_plot import draw
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


def _tell(step: "Step") -> None:
    typer.echo(f"{step.variant}: {step.stage}" + (f": {step.detail}" if step.detail else ""))


def _fail(message: str) -> Never:
    typer.echo(f"chimera models: {message}", err=True)
    raise typer.Exit(1)
