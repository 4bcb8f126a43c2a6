"""The registry's database: pooled connections, each transaction for one tenant and no other.

    start ── connect, again and again with growing pauses ── refuse a wrong role, wrong tables
    tenant(id) ── a connection that answers ── BEGIN ── the tenant, until COMMIT or ROLLBACK
    platform() ── the same for what belongs to no single tenant: their list, and the outbox

A tenant's rows are kept apart by Postgres itself (Row Level Security): a transaction that names
none sees none. The name is local to the transaction, so the next user of a connection starts
without. A server that goes away between two transactions is waited for; one that goes away inside
is reported, since only the caller knows whether to do it again. `tests/stores/registry/test_isolation.py`
and `test_outage.py` prove it.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar
from uuid import UUID

import asyncpg

from chimera.schemas.errors import PostgresUnavailable
from chimera.schemas.server_settings import PostgresSettings
from chimera.stores import roles
from chimera.stores.connecting import LOST, described, persist, place

if TYPE_CHECKING:
    from asyncpg.pool import Pool, PoolConnectionProxy
    from asyncpg.transaction import Transaction

    Connection: TypeAlias = PoolConnectionProxy[asyncpg.Record]
    Begun: TypeAlias = tuple[Connection, Transaction]

T = TypeVar("T")

STOP_WITHIN_S = 5.0
_SCOPE = "SELECT set_config('app.tenant', $1, true), set_config('app.platform', $2, true)"


class Database:
    """Use it with `async with`; one for each process is enough."""

    def __init__(self, dsn: str, settings: PostgresSettings | None = None) -> None:
        """`dsn`: of the application role; nothing happens before `start`."""
        self._dsn = dsn
        self._settings = settings or PostgresSettings()
        self._pool: Pool[asyncpg.Record] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Connect, and see that this role may be let in.

        Raises:
            ConfigurationError: the server refuses the role, we do, or the tables are not ours.
            PostgresUnavailable: no answer in all the time that the settings give.
        """
        try:
            self._pool = await self._persist(self._open)
            async with self._transaction("", "") as connection:
                await roles.require_bound(connection)
                await roles.require_schema(connection)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close every connection, those that are still in use after some seconds too."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    @asynccontextmanager
    async def tenant(self, tenant_id: UUID) -> "AsyncGenerator[Connection]":
        """A transaction that sees and writes one tenant's rows; committed unless it raises.

        Raises:
            PostgresUnavailable: no connection in time, or it was lost inside: whether a commit that
                was under way took place is then unknown.
        """
        async with self._transaction(str(tenant_id), "") as connection:
            yield connection

    @asynccontextmanager
    async def platform(self) -> "AsyncGenerator[Connection]":
        """A transaction that sees the list of tenants and the outbox, and no tenant's other rows.

        Raises as `tenant`.
        """
        async with self._transaction("", "on") as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(self, tenant: str, platform: str) -> "AsyncGenerator[Connection]":
        connection, transaction = await self._persist(lambda: self._begin(tenant, platform))
        try:
            yield connection
            await transaction.commit()
        except BaseException as error:
            with suppress(*LOST, asyncpg.InterfaceError):
                if not _is_gone(connection):
                    await transaction.rollback()
            if isinstance(error, LOST) or _is_closed(error, connection):
                raise PostgresUnavailable(
                    f"the connection to {place(self._dsn)} was lost inside a transaction "
                    f"({described(error)})"
                ) from error
            raise
        finally:
            await self._release(connection)

    async def _begin(self, tenant: str, platform: str) -> "Begun":
        connection = await self._acquire()
        try:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(_SCOPE, tenant, platform)
        except BaseException as error:
            await self._release(connection)
            if _is_closed(error, connection):
                raise ConnectionError(described(error)) from error
            raise
        return connection, transaction

    async def _release(self, connection: "Connection") -> None:
        """Give it back; the pool ends one that is broken, and rolls back what is open."""
        with suppress(*LOST, asyncpg.InterfaceError):
            await self._connections.release(connection)

    async def _acquire(self) -> "Connection":
        pool, within_s = self._connections, self._settings.connect_timeout_ms / 1000
        try:
            return await pool.acquire(timeout=within_s)
        except TimeoutError:
            if pool.get_size() == pool.get_max_size() and not pool.get_idle_size():
                raise TimeoutError(
                    f"all {pool.get_size()} connections were in use for {within_s} s; "
                    "CHIMERA_POSTGRES__POOL_MAX"
                ) from None
            raise

    async def _open(self) -> "Pool[asyncpg.Record]":
        return await asyncpg.create_pool(
            self._dsn,
            min_size=0,  # the driver would go on opening them while the server is away
            max_size=self._settings.pool_max,
            timeout=self._settings.connect_timeout_ms / 1000,
            command_timeout=self._settings.command_timeout_ms / 1000,
            server_settings={"application_name": "chimera"},
        )

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        return await persist(
            attempt,
            dsn=self._dsn,
            setting=roles.SETTING,
            for_s=self._settings.retry_for_ms / 1000,
        )

    @property
    def _connections(self) -> "Pool[asyncpg.Record]":
        if self._pool is None:
            raise PostgresUnavailable("the database has not been started, or was stopped")
        return self._pool


def _is_closed(error: BaseException, connection: "Connection") -> bool:
    """Whether the driver refused because the connection is gone; it has no type of its own."""
    return isinstance(error, asyncpg.InterfaceError) and _is_gone(connection)


def _is_gone(connection: "Connection") -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken it back by itself
        return True
