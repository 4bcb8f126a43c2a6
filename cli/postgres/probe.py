"""Does the embedded Postgres truly serve: a login with SCRAM and a query, as the application role."""

import asyncio

import asyncpg

_WITHIN_S = 5.0


def missing(dsn: str) -> str | None:
    """What it cannot do yet, or None. Not to be called on an event loop."""
    return asyncio.run(_ask(dsn))


async def _ask(dsn: str) -> str | None:
    try:
        connection = await asyncpg.connect(dsn, timeout=_WITHIN_S)
        try:
            await connection.fetchval("SELECT 1", timeout=_WITHIN_S)
        finally:
            await connection.close(timeout=_WITHIN_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return f"{type(error).__name__}: {error}"
    return None
