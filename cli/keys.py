"""`chimera keys`: the pair that signs models here, whose signatures are believed, tenants' keys."""

from typing import TYPE_CHECKING, Annotated, Never

import typer

if TYPE_CHECKING:
    from chimera.schemas.model_settings import KeysSettings

app = typer.Typer(
    no_args_is_help=True, help="Keys that sign models, and tenants' own: make them, show them."
)


@app.command()
def init() -> None:
    """Make a pair (Ed25519). One that is there is never overwritten."""
    from chimera.cli.recording import own_act, recorded
    from chimera.cli.refusals import told
    from chimera.schemas.control_actions import key_created
    from chimera.schemas.settings import load
    from chimera.schemas.signing import new_key
    from chimera.stores import keys

    with told("keys"):
        whole, key = load(), new_key()
        settings = whole.keys
        name, file = key.public.key_id, settings.signing_file
        with recorded(whole, key_created(own_act(), "models", name, str(file))):
            keys.write_key(file, key, key.public.text)
    typer.echo(f"key {name}")
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
    from chimera.cli.recording import own_act, recorded
    from chimera.cli.refusals import told
    from chimera.schemas.control_actions import key_created
    from chimera.schemas.settings import load
    from chimera.stores import keys

    with told("keys"):
        settings = load()
        path = keys.tenant_file(settings.journal.keys_dir, name)
        act = own_act()._replace(tenant=name)
        with recorded(settings, key_created(act, "commitments", name, str(path))):
            keys.create_tenant_key(settings.journal.keys_dir, name)
    typer.echo(f"{path}: nodes must have the same one; keep a copy as safe as requests are")


@app.command()
def destroy(
    name: str,
    reason: Annotated[str, typer.Option(help="For the audit log.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Destroy a tenant's key: nobody can tell any more which requests and results it committed to.

    The log stays whole. Copies on other nodes, and your safe one, are yours to destroy.
    """
    from chimera.cli.recording import own_act, recorded
    from chimera.cli.refusals import told
    from chimera.schemas.control_actions import key_destroyed
    from chimera.schemas.settings import load
    from chimera.stores import keys

    with told("keys"):
        settings = load()
        path = keys.tenant_file(settings.journal.keys_dir, name)
        if not yes:
            typer.confirm(f"{path} cannot be brought back; destroy it?", abort=True)
        act = own_act(reason)._replace(tenant=name)
        with recorded(settings, key_destroyed(act, "commitments", name, str(path))):
            keys.destroy_tenant_key(settings.journal.keys_dir, name)
    typer.echo(f"{path} is destroyed; copies elsewhere are not")


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
