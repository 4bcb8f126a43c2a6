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
    """Write the log's leaves up to its last checkpoint, and its checkpoints, out of Kafka.

    Records between the checkpoints that are none are left out, and counted.
    """
    from chimera.cli.audit import sources
    from chimera.cli.progress import waiting
    from chimera.cli.refusals import told

    with told("audit export"):
        from chimera.schemas.errors import ConfigurationError, EvidenceUntrusted
        from chimera.schemas.settings import load
        from chimera.schemas.transparency import checkpoints, policy_file
        from chimera.stores import audit_export

        settings = load()
        if folder.exists():
            raise ConfigurationError(f"{folder}: is there already; an export is a new folder")
        believed = sources.policy_of(settings, policy)
        whom = policy_file.decode(believed, str(policy or "the log's own key"))
        with sources.opened(settings, "kafka", bootstrap) as log, waiting("leaves are written"):
            published = log.checkpoints()
            notes = [note for note in published if checkpoints.claimed(note)]
            size = whom.size_of(notes)
            if notes and size is None:
                raise EvidenceUntrusted(f"none of {len(notes):,} checkpoints is to be believed")
            audit_export.write(folder, log.rows(size or 0), notes, believed)
    typer.echo(f"{folder}: {size or 0:,} leaves, {len(notes):,} checkpoints")
    if left_out := len(published) - len(notes):
        typer.echo(f"  left out: {left_out:,} records that are no checkpoints", err=True)
