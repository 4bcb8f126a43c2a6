"""Whose runs a command is about: its option, and the folder that they lie in (`workers/training/folder.py`).

`tests/cli/test_train_tenant.py`.
"""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path


def _named(name: str | None) -> str | None:
    """It becomes a folder's name. Raises BadParameter: it is none."""
    from chimera.schemas.manifest import is_name

    if name is not None and not is_name(name):
        raise typer.BadParameter(f"{name!r} is no name: letters, digits, . _ -")
    return name


Tenant = Annotated[str, typer.Option(help="Whose they are.", callback=_named)]
AnyTenant = Annotated[
    str | None, typer.Option(help="Whose they are; unset: everybody's.", callback=_named)
]


def runs(tenant: str) -> "Path":
    """The folder of a tenant's runs, by the settings."""
    from chimera.schemas.settings import load
    from chimera.workers.training.folder import runs_of

    return runs_of(load().training.dir, tenant)
