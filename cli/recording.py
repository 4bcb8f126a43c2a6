"""A command that does something to what serves: it is told to the audit log, with who gave it.

The event is on the disk before it is done. A Kafka that answers gets it at once; without one it waits,
which is said, for `chimera audit deliver` or whatever lasts here next. `tests/cli/test_recording.py`.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from chimera.schemas.control_actions import Act
    from chimera.schemas.settings import Settings
    from chimera.schemas.transparency.leaves import ActionTaken

SEND_WITHIN_S = 10.0  # a broker that is there takes an event in a tenth of a second


def own_act(reason: str = "") -> "Act":
    """Of the account that runs this process."""
    from chimera.agents.audit_events import act
    from chimera.cli.models.actor import actor

    return act(actor(), reason)


@contextmanager
def recorded(
    settings: "Settings", event: "ActionTaken", bootstrap: str | None = None
) -> Generator[None]:
    """The block does what the event tells.

    Raises:
        ConfigurationError: the event cannot be kept, so nothing is done.
    """
    from chimera.stores.audit_outbox import AuditOutbox

    with AuditOutbox(settings.audit.outbox).holding(event):
        yield
    send_what_waits(settings, bootstrap)


def send_what_waits(settings: "Settings", bootstrap: str | None = None) -> None:
    """To Kafka, or say why it goes on waiting."""
    reason = send(settings, bootstrap)
    if reason:
        folder = settings.audit.outbox
        typer.echo(f"the audit event waits in {folder}, to be sent later: {reason}", err=True)


def send(settings: "Settings", bootstrap: str | None = None) -> str:
    """What waits on this machine; why it still does, or nothing."""
    import asyncio

    from chimera.agents.audit_events import deliver
    from chimera.cli.stack.state import find_bootstrap
    from chimera.schemas.errors import ConfigurationError, KafkaUnavailable

    async def sending() -> None:
        where = bootstrap or find_bootstrap(settings)
        async with asyncio.timeout(SEND_WITHIN_S):
            await deliver(settings, where)

    try:
        asyncio.run(sending())
    except (ConfigurationError, KafkaUnavailable) as error:
        return str(error)
    except TimeoutError:
        return f"no answer within {SEND_WITHIN_S:g} s"
    return ""
