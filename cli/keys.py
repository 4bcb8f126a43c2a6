"""`chimera keys`: the pair that signs models here, whose signatures are believed, tenants' keys."""

from typing import TYPE_CHECKING, Never

import typer

if TYPE_CHECKING:
    from chimera.schemas.model_settings import KeysSettings

app = typer.Typer(
    no_args_is_help=True, help="Keys that sign models, and tenants' own: make them, show them."
)


@app.command()
def init() -> None:
    """Make a pair (Ed25519). One that is there is never overwritten."""
    from chimera.schemas.errors import ChimeraError
    from chimera.stores import keys

    settings = _settings()
    try:
        key = keys.create(settings)
    except ChimeraError as error:
        _fail(str(error))
    typer.echo(f"key {key.public.key_id}")
    typer.echo(f"private: {settings.signing_file}, which nobody else may read: keep a copy safe")
    typer.echo(f"public:  {keys.public_file(settings)}, for CHIMERA_KEYS__TRUSTED of others")


@app.command()
def show() -> None:
    """Show the key that signs here and all that are trusted. Exit 1: one of them is no key."""
    from chimera.schemas.errors import ChimeraError
    from chimera.stores import keys

    settings = _settings()
    try:
        own, trusted = keys.find_signing_key(settings), list(keys.trusted(settings))
    except ChimeraError as error:
        _fail(str(error))
    where = "CHIMERA_KEYS__SIGNING" if settings.signing else str(settings.signing_file)
    if own is None:
        typer.echo(f"no key signs here: {where} does not exist; `chimera keys init` makes one")
    for key in trusted:
        role = f"signs, from {where}" if own and key == own.public else "trusted"
        typer.echo(f"{key.key_id}  {key.text}  {role}")


@app.command()
def tenant(name: str) -> None:
    """Make the key with which a tenant's journal rows commit to requests and results.

    Whoever destroys it erases what they stand for. One that is there is never overwritten.
    """
    from chimera.schemas.errors import ChimeraError
    from chimera.schemas.settings import load
    from chimera.stores import keys

    try:
        path = keys.create_tenant_key(load().journal.keys_dir, name)
    except ChimeraError as error:
        _fail(str(error))
    typer.echo(f"{path}: nodes must have the same one; keep a copy as safe as requests are")


def _settings() -> "KeysSettings":
    from chimera.schemas.errors import ConfigurationError
    from chimera.schemas.settings import load

    try:
        return load().keys
    except ConfigurationError as error:
        _fail(str(error))


def _fail(message: str) -> Never:
    typer.echo(f"chimera keys: {message}", err=True)
    raise typer.Exit(1)
