"""Who may act for a registry: one process at a time, by a lock that Postgres keeps.

The lock belongs to a transaction that stays open, on one connection of the pool: a process that dies
gives it up in that moment, without any time-out. One that was only cut off does not know at once, so
whatever must not be done twice is fenced by its own means, too. `tests/agents/controlling/test_controller.py`
has a second process wait, and go on when the first is killed.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from chimera.stores.postgres import Database

ASK_AGAIN_S = 0.25
CONTROLLER_LOCK = 0x4348_494D_4552_4100  # "CHIMERA" and the first of its locks: to command models
TRAINING_LOCK = CONTROLLER_LOCK + 1  # to take triggers, and to tell of training


_IS_LED = """
SELECT EXISTS (SELECT 1 FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND (classid::bigint << 32) | objid::bigint = $1)
"""


async def is_led(database: Database, lock: int = CONTROLLER_LOCK) -> bool:
    """Whether somebody leads now, or takes over just then. Raises PostgresUnavailable."""
    async with database.platform() as connection:
        return bool(await connection.fetchval(_IS_LED, lock))


@asynccontextmanager
async def leading(
    database: Database, lock: int = CONTROLLER_LOCK
) -> AsyncGenerator[Callable[[], Awaitable[datetime]]]:
    """Waits until nobody else leads; call what it gives to be sure that we still do.

    It tells the time by the server's clock, which the history goes by; one call at a time.

    Raises:
        PostgresUnavailable: the connection, and with it the lock, is lost.
    """
    async with database.platform() as connection:
        while not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", lock):  # noqa: ASYNC110  # told by nobody
            await asyncio.sleep(ASK_AGAIN_S)

        async def still() -> datetime:
            now: datetime = await connection.fetchval("SELECT clock_timestamp()")
            return now

        yield still
