"""Which Postgres to speak to: the server of the settings, else the embedded one in its folder.

`tests/cli/test_db.py` reaches all three: one's own, one that runs, one that does not.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from chimera.cli.postgres.config import read_access
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.cli.stack import locks
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.server_settings import PostgresSettings
from chimera.stores.connecting import role


@dataclass(frozen=True, slots=True)
class Address:
    dsn: str = field(repr=False)  # of the application role
    owner_dsn: str = field(repr=False)  # of the role that owns the tables

    @property
    def application_role(self) -> str:
        return role(self.dsn, "CHIMERA_POSTGRES__DSN")


def find_postgres(settings: PostgresSettings) -> str:
    """The application role's DSN, of a server that runs.

    Raises:
        ConfigurationError: the settings name none, and no embedded one runs.
    """
    if settings.dsn is not None:
        return settings.dsn.get_secret_value()
    running = _running(settings)
    if running is None:
        raise ConfigurationError(
            f"no Postgres: none runs in {settings.embedded_dir.absolute()}; start one with "
            "`chimera up`, or set CHIMERA_POSTGRES__DSN to a server of your own"
        )
    return running.dsn


@contextmanager
def administered(settings: PostgresSettings) -> Generator[Address]:
    """Where migrations go; the embedded server is started for as long, where it does not run.

    Raises:
        ConfigurationError: a server of one's own without its owner's DSN; also as
            `EmbeddedPostgres.start`.
        PostgresUnavailable: the embedded server cannot be started.
    """
    if settings.dsn is not None:
        if settings.owner_dsn is None:
            raise ConfigurationError(
                "CHIMERA_POSTGRES__OWNER_DSN: on a server of your own, name the role that owns the "
                "tables; the application's (CHIMERA_POSTGRES__DSN) must not"
            )
        yield Address(settings.dsn.get_secret_value(), settings.owner_dsn.get_secret_value())
    elif running := _running(settings):
        yield running
    else:
        with EmbeddedPostgres(settings.embedded_dir, settings.embedded_port) as server:
            yield Address(server.dsn, server.owner_dsn)


def _running(settings: PostgresSettings) -> Address | None:
    folder = settings.embedded_dir.expanduser().absolute()
    if locks.holder(folder / "lock") is None:
        return None
    access = read_access(folder)
    if access is None or access.port is None:
        return None  # it starts for the first time at this moment
    return Address(access.dsn, access.owner_dsn)
