"""Finished runs, for the commands that show and rank them: of this machine's folder, and of the registry.

`tests/cli/test_train.py`, `tests/cli/test_train_ingested.py`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from chimera.schemas.training_manifest import TrainingManifest

REGISTERED = 1_000  # runs of agents that are asked for, the newest
SEVERAL = 2  # exit status: it is not said which model is meant


def finished() -> "list[TrainingManifest]":
    """All of this machine's folder, the oldest first."""
    from chimera.schemas.settings import load
    from chimera.workers.training import history

    return list(history.read(load().training.dir))


def known() -> "list[TrainingManifest]":
    """Those, and the ones that only the registry has: other machines may train into folders of theirs."""
    from chimera.cli.training import listing

    found = {one.run_id: one for one in finished()}
    for run in listing.registered(limit=REGISTERED):
        if run.manifest is not None:
            found.setdefault(run.run_id, run.manifest)
    return list(found.values())


def find(run_id: str) -> "TrainingManifest":
    """One of them; the command ends where there is none."""
    found = next((one for one in known() if one.run_id == run_id), None)
    if found is None:
        typer.echo(f"chimera train: there is no finished run {run_id}", err=True)
        raise typer.Exit(1)
    return found


def of_model(runs: "Iterable[TrainingManifest]", name: str | None) -> "list[TrainingManifest]":
    """Of the model that is named, or the only one; the command ends where there are several."""
    found = list(runs)
    models = sorted({one.name for one in found})
    if name is None and len(models) > 1:
        typer.echo(f"chimera train: which model? --name {' or '.join(models)}", err=True)
        raise typer.Exit(SEVERAL)
    return [one for one in found if name in (None, one.name)]
