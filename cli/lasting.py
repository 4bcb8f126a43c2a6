"""A command that lasts until it is told to stop: its settings and logs, its ready file, its signals.

Who started it waits for the ready file, and ends it by SIGTERM; a person by Ctrl-C.
`tests/integration/test_node.py` and `test_sequencer.py` do both to real ones.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chimera.schemas.settings import Settings


def begin(ready_file: Path | None) -> "Settings":
    """The settings; logs go where they say, and an earlier run's ready file is gone.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    from chimera.cli import logs
    from chimera.schemas.settings import load

    if ready_file is not None:
        ready_file.unlink(missing_ok=True)
    settings = load()
    logs.configure(settings.observability)
    return settings


async def tell(settings: "Settings", bootstrap: str, role: str) -> None:
    """To the audit log, that a process of this role begins, if its settings are new.

    Raises:
        KafkaUnavailable: no broker takes it. ConfigurationError: a topic is missing.
    """
    from chimera.agents import starting
    from chimera.cli.models.actor import actor

    await starting.begin(settings, bootstrap, role, actor())


def when_told(stop: Callable[[], object]) -> None:
    """`stop` is called in this thread's loop when somebody ends the process."""
    import asyncio
    import signal

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def ready(ready_file: Path | None) -> None:
    """Whoever waits for it goes on."""
    if ready_file is not None:
        ready_file.touch()
