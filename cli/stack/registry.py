"""The registry's Postgres in a stack: started beside Kafka, brought to this release, looked after.

    begin ── server ── tables (as their owner), in a thread ── finish     a server of one's own is
    watch ── started again on its folder and port                         only looked at
    stop ── the server ends, for certain

`tests/cli/test_stack.py` starts it with a stack and kills it.
"""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor, wait

import asyncpg

from chimera.cli.postgres.config import APPLICATION
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.server_settings import PostgresSettings
from chimera.stores import roles
from chimera.stores.connecting import place
from chimera.stores.migrations import HEAD
from chimera.stores.postgres import Database


class StackRegistry:
    """`begin` at once, `finish` before anybody asks it; both are called once."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._server: EmbeddedPostgres | None = None
        if settings.dsn is None:
            self._server = EmbeddedPostgres(settings.embedded_dir, settings.embedded_port)
        self._begun: Future[None] | None = None

    def begin(self) -> None:
        """Come back at once; a first start makes its files for a second or two."""
        thread = ThreadPoolExecutor(1, "registry")
        self._begun = thread.submit(self._start)
        thread.shutdown(wait=False)

    def finish(self) -> None:
        """Wait until it can be used.

        Raises:
            ConfigurationError: a setting is wrong, or a server of one's own has other tables than
                this release needs.
            PostgresUnavailable: it does not start, or does not answer.
        """
        if self._begun is not None:
            self._begun.result()

    def watch(self) -> None:
        """Start a server that died again. Raises as `EmbeddedPostgres.start`."""
        if self._server is not None and not self._server.running:
            self._server.start()

    def stop(self) -> None:
        """Whatever has begun is over when it returns."""
        if self._begun is not None:
            wait([self._begun])
        if self._server is not None:
            self._server.stop()

    @property
    def place(self) -> str:
        """host:port/database, once it was started."""
        dsn = self._settings.dsn
        if self._server is None and dsn is not None:
            return place(dsn.get_secret_value())
        return place(self._embedded.dsn)

    @property
    def pid(self) -> int | None:
        """None: a server of one's own, or one that does not run now."""
        return self._server.pid if self._server is not None and self._server.running else None

    @property
    def running(self) -> bool:
        """One's own is not watched: whoever asks it waits for it."""
        return self._server is None or self._server.running

    @property
    def _embedded(self) -> EmbeddedPostgres:
        if self._server is None:
            raise AssertionError("neither a server of the settings nor an embedded one")
        return self._server

    def _start(self) -> None:
        if self._server is not None:
            self._server.start()
            asyncio.run(_migrate(self._server.dsn, self._server.owner_dsn))
        elif (dsn := self._settings.dsn) is not None:
            asyncio.run(_require(dsn.get_secret_value(), self._settings))


async def _migrate(dsn: str, owner_dsn: str) -> None:
    """Alembic takes half a second to import, so only where there is something to do."""
    connection = await asyncpg.connect(dsn)
    try:
        found = await roles.revision(connection)
    finally:
        await connection.close()
    if found != HEAD:
        from chimera.stores import schema

        await schema.upgrade(owner_dsn, APPLICATION)


async def _require(dsn: str, settings: PostgresSettings) -> None:
    async with Database(dsn, settings):
        pass  # it has looked at role and tables
