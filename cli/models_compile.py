"""`chimera models compile`: a folder's or a registered version's tiers, made, verified, measured.

Compiling loads torch and native code that was just made; it runs in this very process, which has
nothing else to lose.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chimera.workers.compiling.attempts import Step


def compile_version(
    model: Annotated[
        str, typer.Argument(help="A folder with its manifest.json; or, with VERSION, a name.")
    ],
    version: Annotated[
        str | None, typer.Argument(help="Of a registered model: its tiers go into the registry.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where artifacts and report go; unset: compiled/ in the stack's folder."),
    ] = None,
    tiers: Annotated[
        str, typer.Option(help="Comma-separated names, for example onnx-cpu,torch-cpu; all: nine.")
    ] = "all",
    device: Annotated[str, typer.Option(help="The GPU, if there is one.")] = "cuda:0",
) -> None:
    """Make each tier that this machine can, verify it, measure it. Exit 1: none is verified."""
    from rich.console import Console

    from chimera.cli.refusals import told
    from chimera.schemas.tiers import BY_NAME

    wanted = () if tiers == "all" else tuple(name.strip() for name in tiers.split(","))
    if unknown := [name for name in wanted if name not in BY_NAME]:
        raise typer.BadParameter(f"there is no tier {unknown[0]!r}, only {', '.join(BY_NAME)}")
    with told("models"):
        from chimera.cli import tier_table
        from chimera.schemas.settings import load

        settings = load()
        folder = Path(model).absolute()
        name = (folder.parent.name, folder.name) if version is None else (model, version)
        target = out or settings.stack.dir.joinpath("compiled", *name)
        from chimera.workers.compiling.pipeline import Targets, compile

        targets = Targets(
            wanted,
            device,
            settings.serving.threads,
            settings.batching.max_batch_size,
            settings.artifacts.definitions,
        )
        if version is None:
            report = compile(folder, targets, target, settings.compiling, _tell)
        else:
            from chimera.cli.compiling import compile_registered

            report = compile_registered(model, version, settings, targets, target, _tell)
    tier_table.show(report, Console())
    typer.echo(f"artifacts and report.json are in {target}")
    if not any(one.verdict == "verified" for one in report.tiers):
        raise typer.Exit(1)


def _tell(step: "Step") -> None:
    typer.echo(f"{step.variant}: {step.stage}" + (f": {step.detail}" if step.detail else ""))
