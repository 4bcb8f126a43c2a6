"""ClickHouse as the settings name it: a server, or the embedded engine, whose folder is locked."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chimera.cli.stack import locks
from chimera.schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from chimera.schemas.history_settings import ClickHouseSettings
    from chimera.stores.clickhouse import ClickHouse


@contextmanager
def opened(settings: "ClickHouseSettings") -> "Generator[ClickHouse]":
    """Closed at the end.

    Raises:
        ConfigurationError: another process has the folder; says which.
        ClickHouseUnavailable: the server does not answer.
    """
    from chimera.stores import clickhouse

    if settings.dsn is not None:
        server = clickhouse.server(settings.dsn.get_secret_value())
        try:
            yield server
        finally:
            server.close()
        return
    folder = settings.dir.expanduser()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "lock"
    lock = locks.take(path)
    if lock is None:
        raise ConfigurationError(
            f"CHIMERA_CLICKHOUSE__DIR: {folder} is in use by process {locks.holder(path)}"
        )
    try:
        engine = clickhouse.embedded(folder / "data")
        try:
            yield engine
        finally:
            engine.close()
    finally:
        os.close(lock)
