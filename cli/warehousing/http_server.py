"""The warehouse's HTTP interface, as the settings want it: where it listens, and who may ask.

Anywhere but on loopback it takes a password, and without one it is asked as this machine alone. Its address is written beside the engine's folder, for
`chimera sql` and `chimera status`. With a server of one's own it has no answers, only metrics.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import structlog
from prometheus_client import CollectorRegistry

from chimera.cli.warehousing import engine, http_interface
from chimera.cli.warehousing.http_answers import Answers
from chimera.cli.warehousing.http_hosts import is_loopback
from chimera.cli.warehousing.http_writes import Patience
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.history_settings import ClickHouseSettings
from chimera.stores.readers import ReaderLimits, Readers

log = structlog.get_logger(__name__)


@asynccontextmanager
async def serving(settings: ClickHouseSettings, metrics: CollectorRegistry) -> AsyncGenerator[None]:
    """While it is open.

    Raises:
        ConfigurationError: the port is taken, or strangers could ask without a password.
    """
    if settings.http_port is None:
        yield
        return
    secret = settings.http_password
    password = secret.get_secret_value() if secret is not None else ""
    if not password and not is_loopback(settings.http_host):
        raise ConfigurationError(
            f"CHIMERA_CLICKHOUSE__HTTP_PASSWORD: {settings.http_host} is not on loopback, so clients"
            " have to bring one"
        )
    answers = None if settings.dsn is not None else Answers(_readers(settings))
    patience = Patience(settings.reader_seconds)
    interface = http_interface.Interface(answers, password or None, metrics, patience)
    try:
        where = http_interface.serving(interface, settings.http_host, settings.http_port)
        async with where as address:
            log.info("warehouse_serves", address=address)
            _tell(settings, address)
            try:
                yield
            finally:
                with suppress(OSError):
                    engine.address_file(settings).unlink()
    finally:
        if answers is not None:
            answers.close()


def _tell(settings: ClickHouseSettings, address: str) -> None:
    """To others of this machine; with a server of one's own the folder may be nobody's."""
    file = engine.address_file(settings)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_text(address, "utf-8")
    except OSError as error:
        if settings.dsn is None:
            raise
        log.warning("address_not_told", file=str(file), reason=str(error))


def _readers(settings: ClickHouseSettings) -> Readers:
    limits = ReaderLimits(
        settings.reader_seconds, settings.reader_memory_bytes, settings.reader_rows
    )
    return Readers(engine.data(settings), limits, settings.readers)
