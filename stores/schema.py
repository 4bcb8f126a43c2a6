"""The registry's tables, brought to a revision: up, down, and which one it is now.

As the role that owns them, on its own DSN; no other process ever has it. Alembic runs the revisions
of `migrations`, all of a command in one transaction. `tests/stores/test_schema.py` goes up, down and
up again, and compares what Postgres itself says of the result. Processes take turns; within one
process Alembic can do one thing at a time.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from chimera.schemas.errors import ConfigurationError, PostgresUnavailable
from chimera.stores import migrations
from chimera.stores.connecting import persist, place

SETTING = "CHIMERA_POSTGRES__OWNER_DSN"
T = TypeVar("T")

_CONNECT_WITHIN_S = 10.0
_TRY_FOR_S = 30.0  # a server that was started beside us takes some seconds


async def upgrade(owner_dsn: str, application_role: str, revision: str = "head") -> None:
    """Bring the tables to a revision, and let the application role use them; a repetition is free.

    Raises:
        ConfigurationError: no such revision, or the owner may not log in or change tables.
        PostgresUnavailable: the server does not answer.
    """
    config = _config(application_role)
    await _run(
        owner_dsn, lambda connection: _command(command.upgrade, config, connection, revision)
    )


async def downgrade(owner_dsn: str, application_role: str, revision: str) -> None:
    """Go back to a revision (`base`: no tables); what later ones held is gone. Raises as `upgrade`."""
    config = _config(application_role)
    await _run(
        owner_dsn, lambda connection: _command(command.downgrade, config, connection, revision)
    )


async def current(owner_dsn: str) -> str | None:
    """The revision of the tables; None: there are none. Raises as `upgrade`."""
    return await _run(
        owner_dsn, lambda connection: MigrationContext.configure(connection).get_current_revision()
    )


def head() -> str | None:
    """The newest revision that is written down."""
    return ScriptDirectory.from_config(_config("")).get_current_head()


def _config(application_role: str) -> Config:
    config = Config()
    config.set_main_option(
        "script_location", str(Path(migrations.__file__).parent).replace("%", "%%")
    )
    config.attributes["application_role"] = application_role
    return config


def _command(
    run: Callable[[Config, str], None], config: Config, connection: Connection, revision: str
) -> None:
    config.attributes["connection"] = connection
    run(config, revision)


async def _run(owner_dsn: str, work: Callable[[Connection], T]) -> T:
    async def connect() -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(owner_dsn, timeout=_CONNECT_WITHIN_S)

    async def attempt() -> T:
        async with engine.begin() as connection:
            return await connection.run_sync(work)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        return await persist(attempt, dsn=owner_dsn, setting=SETTING, for_s=_TRY_FOR_S)
    except CommandError as error:
        raise ConfigurationError(f"the registry's revisions: {error}") from error
    except DBAPIError as error:
        where = place(owner_dsn)
        if error.connection_invalidated:
            raise PostgresUnavailable(
                f"the connection to {where} was lost: {error.orig}"
            ) from error
        raise ConfigurationError(f"{SETTING}: {where} refuses it: {error.orig}") from error
    finally:
        await engine.dispose()
