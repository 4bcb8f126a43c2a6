"""A command that lasts until it is told to stop: its settings and logs, its ready file, its signals.

Who started it waits for the ready file, and ends it by SIGTERM; a person by Ctrl-C.
`tests/integration/test_node.py` and `test_sequencer.py` do both to real ones.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

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


def when_told(stop: Callable[[], object]) -> None:
    """`stop` is called in this thread's loop when somebody ends the process."""
    import asyncio
    import signal

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def scraped(registry: "CollectorRegistry", host: str, port: int | None, setting: str) -> None:
    """Prometheus finds these metrics there; 0: a free port, None: nowhere.

    Raises:
        ConfigurationError: the port, which has this setting, is taken.
    """
    import structlog
    from prometheus_client import start_http_server

    from chimera.schemas.errors import ConfigurationError

    if port is None:
        return
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise ConfigurationError(f"{setting}: {error}") from None
    structlog.get_logger(__name__).info("metrics", host=host, port=server.server_port)


def ready(ready_file: Path | None) -> None:
    """Whoever waits for it goes on."""
    if ready_file is not None:
        ready_file.touch()
