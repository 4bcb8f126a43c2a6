"""Finished runs, for the commands that show and rank them: of this machine's folder, and of the registry.

`tests/cli/test_train.py`, `test_train_tenant.py`, `test_train_ingested.py`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from chimera.cli.training.tenant import runs

if TYPE_CHECKING:
    from chimera.schemas.training_manifest import TrainingManifest

REGISTERED = 1_000  # runs of agents that are asked for, the newest
SEVERAL = 2  # exit status: it is not said which model is meant


def finished(tenant: str) -> "list[TrainingManifest]":
    """All of a tenant's folder on this machine, the oldest first."""
    from chimera.workers.training import history

    return list(history.read(runs(tenant)))


def known(tenant: str) -> "list[TrainingManifest]":
    """Those, and the ones that only the registry has: other machines may train into folders of theirs.

    Raises as `listing.registered`.
    """
    from chimera.cli.training import listing

    found = {one.run_id: one for one in finished(tenant)}
    for run in listing.registered(tenant, REGISTERED):
        if run.manifest is not None:
            found.setdefault(run.run_id, run.manifest)
    return list(found.values())


def find(run_id: str, tenant: str) -> "TrainingManifest":
    """One of them; the command ends where there is none."""
    found = next((one for one in known(tenant) if one.run_id == run_id), None)
    if found is None:
        typer.echo(f"chimera train: there is no finished run {run_id}", err=True)
        raise typer.Exit(1)
    return found


def of_model(several: "Iterable[TrainingManifest]", name: str | None) -> "list[TrainingManifest]":
    """Of the model that is named, or the only one; the command ends where there are several."""
    found = list(several)
    models = sorted({one.name for one in found})
    if name is None and len(models) > 1:
        typer.echo(f"chimera train: which model? --name {' or '.join(models)}", err=True)
        raise typer.Exit(SEVERAL)
    return [one for one in found if name in (None, one.name)]
