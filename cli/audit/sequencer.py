"""`chimera sequencer`: put what happened into the audit log, and sign it, until told to stop.

One at a time writes the log: another one that starts takes it over, and this one ends. Exit status
1: something is wrong that another start does not mend; 70: start it again, Kafka is away, another
one has the log, or the disk is full.
"""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Generator

    from chimera.agents.sequencing.sequencer import Sequencer
    from chimera.schemas.settings import Settings
    from chimera.schemas.signing import SigningKey

SETTING = "CHIMERA_AUDIT__KEY"
METRICS_PORT = "CHIMERA_AUDIT__METRICS_PORT"
SWITCH_S = 0.0005  # an answer of the broker waits so long while leaves are made, not Python's 5 ms


def sequencer(
    bootstrap: str | None = typer.Option(None, help="Kafka's host:port; wins over the setting."),
    ready_file: Path | None = typer.Option(
        None, help="Written once it goes on from the last leaf."
    ),
    key_if_none: bool = typer.Option(
        False, "--key-if-none", help="Make the log's key first, unless it, or the log, is there."
    ),
    make_key: bool = typer.Option(
        False, "--make-key", help="Make the log's key, show its public half, and end."
    ),
    read_again: bool = typer.Option(
        False,
        "--read-again",
        help="Begin inputs anew of which nobody knows how far they were read; leaves may repeat.",
    ),
) -> None:
    """Write the audit log: a leaf for each request and each action, and signed checkpoints."""
    from chimera.cli import lasting
    from chimera.cli.exposition import expose
    from chimera.cli.refusals import told

    with told("sequencer"):
        settings = lasting.begin(ready_file)
        if make_key:
            typer.echo(_make_key(settings))
            return
        where, opened = _opened(settings, bootstrap, makes_key=key_if_none, read_again=read_again)
        host = settings.observability.metrics_host
        expose(opened.metrics.registry, host, settings.audit.metrics_port, METRICS_PORT)
        import uvloop

        uvloop.run(_serve(settings, where, opened, ready_file))


def _make_key(settings: "Settings") -> str:
    """Its public half."""
    from chimera.schemas.signing import new_key

    return _keep(settings, new_key())


def _keep(settings: "Settings", key: "SigningKey", bootstrap: str | None = None) -> str:
    """Its public half, once it is on the disk, and told."""
    from chimera.cli.recording import own_act, recorded
    from chimera.schemas.control_actions import key_created
    from chimera.schemas.transparency.checkpoints import log_key
    from chimera.stores.keys import write_key

    file, public = settings.audit.key_file, log_key(_origin(settings), key).text
    with recorded(settings, key_created(own_act(), "log", public, str(file)), bootstrap):
        write_key(file, key, public)
    return public


def _origin(settings: "Settings") -> str:
    from chimera.schemas.errors import ConfigurationError
    from chimera.schemas.transparency.notes import is_key_name

    if not is_key_name(settings.audit.origin):
        raise ConfigurationError(
            "CHIMERA_AUDIT__ORIGIN: what the log is called, like example.com/audit, without spaces or plus"
        )
    return settings.audit.origin


def _opened(
    settings: "Settings", bootstrap: str | None, *, makes_key: bool, read_again: bool
) -> "tuple[str, Sequencer]":
    """With Kafka's address; a new key is kept once it is known that no other one signs the log.

    Raises:
        ConfigurationError: a setting is missing or wrong, or another key signs the log.
    """
    import asyncio

    from chimera.cli.stack.state import find_bootstrap
    from chimera.schemas.errors import ConfigurationError
    from chimera.schemas.signing import new_key
    from chimera.stores.keys import find_key

    _origin(settings)
    key = find_key(settings.audit.key_file, settings.audit.key, SETTING)
    if key is None and not makes_key:
        raise ConfigurationError(
            f"{settings.audit.key_file}: no key to sign with; make one with `chimera sequencer --make-key`"
        )
    where = bootstrap or find_bootstrap(settings)
    from chimera.agents.lanes import failpoints
    from chimera.agents.sequencing.sequencer import Sequencer

    signs, step = key or new_key(), failpoints.from_environment()
    found = Sequencer(settings, where, signs, step, read_again=read_again)
    if key is None:
        with started_again():
            asyncio.run(found.require_free())
        _keep(settings, signs, where)
    return where, found


async def _serve(
    settings: "Settings", bootstrap: str, sequencer: "Sequencer", ready_file: Path | None
) -> None:
    import asyncio
    import sys

    from chimera.cli import lasting

    stop = asyncio.Event()
    lasting.when_told(stop.set)
    sys.setswitchinterval(SWITCH_S)
    with started_again():
        await lasting.tell(settings, bootstrap, "sequencer")
        await sequencer.run(stop, lambda: lasting.ready(ready_file))


@contextmanager
def started_again() -> "Generator[None]":
    """What may go better another time ends the process, to be started again."""
    from chimera.cli import lasting
    from chimera.schemas.errors import DiskUnavailable, KafkaUnavailable
    from chimera.topics.producers import ProducerError

    try:
        yield
    except (ProducerError, KafkaUnavailable, DiskUnavailable) as error:
        typer.echo(f"chimera sequencer: {error}", err=True)
        raise typer.Exit(lasting.START_AGAIN) from None
