"""A page of metrics for Prometheus, on the port that a setting names; the log says where it is.

`tests/cli/test_watch.py` reads a node's, `tests/cli/test_train_agent.py` a training agent's.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


def expose(registry: "CollectorRegistry", host: str, port: int | None, setting: str) -> None:
    """For as long as the process lives, from a thread; no port, no page.

    Raises:
        ConfigurationError: nobody can listen there; names the setting.
    """
    if port is None:
        return
    import structlog
    from prometheus_client import start_http_server

    from chimera.schemas.errors import ConfigurationError

    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise ConfigurationError(f"{setting}: {error}") from None
    structlog.get_logger("chimera").info("metrics", host=host, port=server.server_port)
