"""ClickHouse as the settings name it: a server, or the embedded engine, whose folder is locked.

A warehouse that has the folder writes the address of its HTTP interface into it, so that others can ask.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from chimera.cli.stack import locks
from chimera.schemas.errors import ClickHouseUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from chimera.schemas.history_settings import ClickHouseSettings
    from chimera.stores.clickhouse import ClickHouse


def data(settings: "ClickHouseSettings") -> "Path":
    """The embedded engine's own folder."""
    return settings.dir.expanduser() / "data"


def address_file(settings: "ClickHouseSettings") -> "Path":
    """What the warehouse that has the folder, or writes to a server from here, is asked at."""
    return settings.dir.expanduser() / "http"


def served(settings: "ClickHouseSettings") -> str | None:
    """Where a warehouse answers for the folder, as a DSN; None: nobody does."""
    folder = settings.dir.expanduser()
    if settings.dsn is not None or locks.holder(folder / "lock") is None:
        return None
    try:
        address = address_file(settings).read_text("utf-8")
    except FileNotFoundError:
        return None
    password = settings.http_password
    if password is None:
        return address
    return address.replace("//", f"//default:{quote(password.get_secret_value(), safe='')}@", 1)


def metrics_page(settings: "ClickHouseSettings") -> str | None:
    """Where the warehouse of this folder tells what it does; None: nobody says where."""
    try:
        return address_file(settings).read_text("utf-8") + "/metrics"
    except OSError:
        return None


@contextmanager
def asked(settings: "ClickHouseSettings") -> "Generator[ClickHouse]":
    """To read from, and to change nothing: a server, or a warehouse that serves; else the engine itself.

    Raises:
        ClickHouseUnavailable: as `opened`.
        ClickHouseRefused: a server that does not let us in, or has no database of ours.
    """
    limits = {
        "max_execution_time": settings.reader_seconds,
        "max_memory_usage": settings.reader_memory_bytes,
        "max_result_rows": settings.reader_rows,
    }
    address = served(settings) if settings.dsn is None else settings.dsn.get_secret_value()
    if address is None:
        with opened(settings) as clickhouse:
            clickhouse.read_only(limits)
            yield clickhouse
        return
    from chimera.stores import clickhouse as store

    server = store.reader(address, limits)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def opened(settings: "ClickHouseSettings") -> "Generator[ClickHouse]":
    """Closed at the end.

    Raises:
        ClickHouseUnavailable: another process has the folder, says which; or the server does not answer.
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
        raise ClickHouseUnavailable(
            f"CHIMERA_CLICKHOUSE__DIR: {folder} is in use by process {locks.holder(path)}"
        )
    try:
        address_file(settings).unlink(missing_ok=True)  # of a warehouse that was killed
        engine = clickhouse.embedded(data(settings))
        try:
            yield engine
        finally:
            engine.close()
    finally:
        os.close(lock)
