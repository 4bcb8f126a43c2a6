"""`chimera models register`: a folder becomes a version that can be compiled and deployed."""

from pathlib import Path
from typing import Annotated

import typer


def register(
    folder: Annotated[
        Path, typer.Argument(help="With manifest.json and model.onnx or model.safetensors.")
    ],
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds to wait for the controller, if there is one.")
    ] = 60.0,
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka's host:port; wins over the setting.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
) -> None:
    """Inspect a folder, sign its manifest, store its files, have it written into the registry.

    The same folder again changes nothing. Exit 1: it was refused, and why.
    """
    import asyncio

    from chimera.cli.refusals import told

    with told("models"):
        from chimera.cli.models import registering
        from chimera.cli.models.actor import actor
        from chimera.schemas.settings import load

        settings = load()
        doing = registering.register(
            folder.absolute(), settings, actor(), bootstrap=bootstrap, within_s=timeout
        )
        done = asyncio.run(doing)
    version = done.version
    if as_json:
        from chimera.cli.models.views import as_text, version_fields

        typer.echo(as_text({**version_fields(version), "is_new": done.is_new}))
        return
    since = f"was registered already, at {version.registered_at:%Y-%m-%d %H:%M:%S %Z}"
    told_of = "is registered" if done.is_new else f"{since} by {version.registered_by}"
    typer.echo(f"{version.model} {version.version} {told_of}")
    typer.echo(f"  digest  {done.digest}")
    typer.echo(f"  signed  by {done.key_id}")
    typer.echo(f"  stored  in {settings.artifacts.url}: {', '.join(version.files)}")
