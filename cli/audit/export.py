"""`chimera audit export`: the log as a folder that an auditor takes with him."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    folder: Annotated[
        Path, typer.Argument(help="A new folder: leaves/*.parquet, checkpoints.txt.")
    ],
    policy: Annotated[
        Path | None,
        typer.Option(help="The policy that goes with it; else one with the log's own key."),
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka's host:port; wins over the setting.")
    ] = None,
) -> None:
    """Write the log's leaves up to its last checkpoint, and its checkpoints, out of Kafka."""
    from chimera.cli.audit import sources
    from chimera.cli.progress import waiting
    from chimera.cli.refusals import told

    with told("audit export"):
        from chimera.schemas.errors import ConfigurationError
        from chimera.schemas.settings import load
        from chimera.stores import audit_export
        from chimera.stores.checkpoint_file import head_of

        settings = load()
        if folder.exists():
            raise ConfigurationError(f"{folder}: is there already; an export is a new folder")
        believed = sources.policy_of(settings, policy)
        with sources.opened(settings, "kafka", bootstrap) as log, waiting("leaves are written"):
            notes = log.checkpoints()
            size = max((head_of(note).size for note in notes), default=0)
            audit_export.write(folder, log.rows(size), notes, believed)
    typer.echo(f"{folder}: {size:,} leaves, {len(notes):,} checkpoints")
