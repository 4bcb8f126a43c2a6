"""Going on until a server answers: which errors pass, which never will, and how long to try.

An error is LOST when the server is away, starting, stopping or full: the next attempt may succeed.
It is REFUSED when it would be refused again: a wrong password, no such database, no right to log
in. Of statements, those `OF_VALUES` are refused for what was in them. `tests/stores/test_connecting.py`; `test_outage.py` kills real servers.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import asyncpg

from chimera.schemas.errors import ConfigurationError, PostgresUnavailable
from chimera.stores.backoff import pause_s

T = TypeVar("T")

LOST: tuple[type[Exception], ...] = (
    OSError,  # TimeoutError is one
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)
REFUSED: tuple[type[Exception], ...] = (
    asyncpg.InvalidAuthorizationSpecificationError,  # a wrong password is one
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ClientConfigurationError,
)
OF_VALUES: tuple[type[Exception], ...] = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)


def is_servers(error: Exception) -> bool:
    """Whether a statement failed by the server's state, not by its values: it may be taken later."""
    of_postgres = isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError)
    return of_postgres and not isinstance(error, OF_VALUES)


async def persist(
    attempt: Callable[[], Awaitable[T]], *, dsn: str, setting: str, for_s: float
) -> T:
    """The result of the first attempt that succeeds.

    Args:
        dsn: where; errors name host and database, never the password.
        setting: that holds the DSN.
        for_s: no attempt begins later than this.

    Raises:
        ConfigurationError: refused. PostgresUnavailable: lost for too long.
    """
    until = time.monotonic() + for_s
    attempts = 0
    while True:
        attempts += 1
        try:
            return await attempt()
        except REFUSED as error:
            raise ConfigurationError(f"{setting}: {place(dsn)} refuses it: {error}") from error
        except LOST as error:
            pause = pause_s(attempts, random.random())
            if time.monotonic() + pause > until:
                raise PostgresUnavailable(
                    f"no Postgres answers at {place(dsn)} ({described(error)}; {attempts} attempts "
                    f"in {for_s:.0f} s); is it running? {setting} names it"
                ) from error
        await asyncio.sleep(pause)


def described(error: BaseException) -> str:
    """Its kind where it says nothing, as time-outs do."""
    return str(error) or type(error).__name__


def place(dsn: str) -> str:
    """Host, port and database of a DSN, without the rest."""
    parts = urlsplit(dsn)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def role(dsn: str, setting: str) -> str:
    """The role that a DSN logs in as.

    Raises:
        ConfigurationError: it names none.
    """
    name = urlsplit(dsn).username
    if not name:
        raise ConfigurationError(
            f"{setting}: it names no role (postgresql://role:password@host/db)"
        )
    return unquote(name)
