"""`chimera models compile`: a registered version's tiers, or those of a folder, made and measured.

With VERSION it is one record on `models.commands`: the controller compiles, signs and stores, and its
events are shown as they come. A bare folder is compiled in this very process, which has nothing else
to lose: to look at, as nobody serves what no registry knows.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chimera.schemas.compile_report import CompileReport, Step
    from chimera.schemas.settings import Settings

NO_ANSWER = 2


def compile_version(
    model: Annotated[
        str, typer.Argument(help="A registered model's name, with VERSION; or a folder.")
    ],
    version: Annotated[
        str | None, typer.Argument(help="Unset: MODEL is a folder with its manifest.json.")
    ] = None,
    tiers: Annotated[
        str, typer.Option(help="Comma-separated names, for example onnx-cpu,torch-cpu; all: nine.")
    ] = "all",
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds to wait for the controller.")
    ] = 3_600.0,
    reason: Annotated[str, typer.Option(help="Why; it stands in the command.")] = "",
    tenant: Annotated[str, typer.Option(help="Whose model it is.")] = "default",
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka's host:port; wins over the setting.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Of a folder: where it all goes; unset: compiled/ in the stack's folder."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Of a folder: the GPU, if there is one.")] = "cuda:0",
) -> None:
    """Make each tier that the machine can, verify it, measure it.

    Exit 1: refused, or none is verified; 2: no answer in time.
    """
    from chimera.cli.refusals import told
    from chimera.schemas.tiers import BY_NAME

    wanted = () if tiers == "all" else tuple(name.strip() for name in tiers.split(","))
    if unknown := [name for name in wanted if name not in BY_NAME]:
        raise typer.BadParameter(f"there is no tier {unknown[0]!r}, only {', '.join(BY_NAME)}")
    if version is not None and (out is not None or device != "cuda:0"):
        raise typer.BadParameter("--out and --device are of a folder; the controller has its own")
    with told("models"):
        from chimera.schemas.settings import load

        settings = load()
        if version is None:
            _of_folder(Path(model).absolute(), settings, wanted, out, device)
            return
        fields = {"model": model, "version": version, "tiers": wanted, "reason": reason}
        _by_command({**fields, "tenant": tenant}, settings, bootstrap, timeout)


def _by_command(
    fields: dict[str, object], settings: "Settings", bootstrap: str | None, timeout_s: float
) -> None:
    import asyncio
    import uuid

    import msgspec

    from chimera.cli.models.actor import actor
    from chimera.cli.models.commanding import unanswered
    from chimera.cli.models.compiling import compile_registered
    from chimera.cli.stack.stack import find_bootstrap
    from chimera.schemas.errors import ModelRefused
    from chimera.schemas.model_commands import CompileModel

    common = {"action": "compile", "command_id": uuid.uuid4().hex, "actor": actor()}
    try:
        command = msgspec.convert({**common, **fields}, CompileModel)
    except msgspec.ValidationError as error:
        raise ModelRefused(f"what is asked for: {error}") from None
    where = bootstrap or find_bootstrap(settings)
    doing = compile_registered(settings, where, command, timeout_s, _tell)
    answer, report = asyncio.run(doing)
    if report is not None:
        _show(report)
    if answer is None:
        told = asyncio.run(unanswered(settings, command.command_id))
        typer.echo(f"chimera models: {told}", err=True)
        raise typer.Exit(NO_ANSWER)
    if answer.revision:
        typer.echo(f"it is deployed: nodes follow revision {answer.revision}")
    if answer.outcome != "done":
        typer.echo(f"chimera models: {answer.error}", err=True)
        raise typer.Exit(1)


def _of_folder(
    folder: Path, settings: "Settings", tiers: tuple[str, ...], out: Path | None, device: str
) -> None:
    from chimera.workers.compiling.pipeline import Targets, compile

    target = out or settings.stack.dir.joinpath("compiled", folder.parent.name, folder.name)
    targets = Targets(
        tiers,
        device,
        settings.serving.threads,
        settings.batching.max_batch_size,
        settings.artifacts.definitions,
    )
    report = compile(folder, targets, target, settings.compiling, _tell)
    _show(report)
    typer.echo(f"artifacts and report.json are in {target}")
    if not any(one.verdict == "verified" for one in report.tiers):
        raise typer.Exit(1)


def _show(report: "CompileReport") -> None:
    from rich.console import Console

    from chimera.cli.models import tier_table

    tier_table.show(report, Console())


def _tell(step: "Step") -> None:
    typer.echo(f"{step.variant}: {step.stage}" + (f": {step.detail}" if step.detail else ""))
