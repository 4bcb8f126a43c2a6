"""`chimera models gc`: the store of artifacts without what the registry refers to no more."""

from typing import Annotated

import typer


def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go, and remove nothing.")
    ] = False,
    older_than: Annotated[
        str, typer.Option(help="What was stored, or replaced, since then stays: 1h, 7d.")
    ] = "7d",
    as_json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
) -> None:
    """Remove what no registered version, no artifact that may serve and no report needs.

    Exit 1: something that is needed is missing or damaged, and nothing was removed.
    """
    import asyncio

    from chimera.cli.models.moments import seconds
    from chimera.cli.refusals import told

    older_s = seconds(older_than)
    with told("models"):
        from chimera.cli.models.collecting import collect
        from chimera.schemas.settings import load

        settings = load()
        found = asyncio.run(collect(settings, older_s, removes=not dry_run))
    if as_json:
        from chimera.cli.models.views import as_text

        typer.echo(as_text(found))
        return
    if dry_run:
        for kind, digests in (("version", found.versions), ("file", found.blobs)):
            for digest in digests:
                typer.echo(f"{kind}  {digest}")
    counts = f"{len(found.versions)} versions, {len(found.blobs)} files, {found.leftovers} drafts"
    said = "would go from" if dry_run else "are gone from"
    typer.echo(f"{counts} {said} {settings.artifacts.url}")
