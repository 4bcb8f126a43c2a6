"""`chimera witness`: cosign the checkpoints of other people's logs, until it is told to stop.

It belongs on another machine, under another account, than the log that it watches.
"""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from chimera.schemas.audit_settings import WitnessSettings
    from chimera.schemas.settings import Settings
    from chimera.stores.witness import Witness


def witness(
    make_key: bool = typer.Option(
        False, "--make-key", help="Make the witness's key, show its public half, and end."
    ),
) -> None:
    """Watch audit logs: cosign each checkpoint that extends the last (C2SP tlog-witness)."""
    import asyncio

    from chimera.cli import lasting
    from chimera.cli.refusals import told

    with told("witness"):
        settings = lasting.begin(None)
        if make_key:
            _make_key(settings)
            return
        with _opened(settings.witness) as opened:
            asyncio.run(_serve(settings.witness, opened))


def _make_key(settings: "Settings") -> None:
    from chimera.cli.recording import own_act, recorded
    from chimera.schemas.control_actions import key_created
    from chimera.schemas.signing import new_key
    from chimera.schemas.transparency.cosignatures import witness_key
    from chimera.stores.keys import write_key

    key, file = new_key(), settings.witness.key_file
    public = witness_key(_name(settings.witness), key).text
    with recorded(settings, key_created(own_act(), "witness", public, str(file))):
        write_key(file, key, public)
    typer.echo(public)


def _opened(settings: "WitnessSettings") -> "Witness":
    """Raises ConfigurationError: a setting is missing or wrong."""
    from chimera.schemas.errors import ConfigurationError, EvidenceMalformed
    from chimera.schemas.transparency import verifier_keys
    from chimera.stores.keys import find_key
    from chimera.stores.witness import Witness

    name = _name(settings)
    key = find_key(settings.key_file, settings.key, "CHIMERA_WITNESS__KEY")
    if key is None:
        raise ConfigurationError(
            f"{settings.key_file}: no key to cosign with; make one with `chimera witness --make-key`"
        )
    try:
        known = [verifier_keys.decode(text) for text in settings.logs]
    except EvidenceMalformed as error:
        raise ConfigurationError(f"CHIMERA_WITNESS__LOGS: {error}") from None
    return Witness(name, key, known, settings.database)


def _name(settings: "WitnessSettings") -> str:
    from chimera.schemas.errors import ConfigurationError
    from chimera.schemas.transparency.notes import is_key_name

    if settings.name is None or not is_key_name(settings.name):
        raise ConfigurationError(
            "CHIMERA_WITNESS__NAME: what the witness is called, like example.com/witness,"
            " without spaces or plus"
        )
    return settings.name


async def _serve(settings: "WitnessSettings", opened: "Witness") -> None:
    import asyncio

    from aiohttp import web

    from chimera.cli import lasting
    from chimera.cli.audit.witness_http import application
    from chimera.schemas.errors import ConfigurationError

    stop = asyncio.Event()
    lasting.when_told(stop.set)
    runner = web.AppRunner(application(opened))
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, settings.host, settings.port).start()
        except OSError as error:
            raise ConfigurationError(f"CHIMERA_WITNESS__PORT: {error}") from None
        host, port = runner.addresses[0][:2]
        typer.echo(f"witness {opened.public.text}")
        typer.echo(f"listens on http://{host}:{port}")
        await stop.wait()
    finally:
        await runner.cleanup()
