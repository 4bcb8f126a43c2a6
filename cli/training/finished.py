"""Finished runs of this machine's folder, for the commands that show them.

`tests/cli/test_train.py`.
"""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from chimera.schemas.training_manifest import TrainingManifest


def finished() -> "list[TrainingManifest]":
    """All of them, the oldest first."""
    from chimera.schemas.settings import load
    from chimera.workers.training import history

    return list(history.read(load().training.dir))


def find(run_id: str) -> "TrainingManifest":
    """One of them; the command ends where there is none."""
    found = next((one for one in finished() if one.run_id == run_id), None)
    if found is None:
        typer.echo(f"chimera train: there is no finished run {run_id}", err=True)
        raise typer.Exit(1)
    return found
