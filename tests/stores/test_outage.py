"""A server that dies and comes back: between two transactions nobody notices, inside one is told."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import pytest

from chimera.cli.postgres.config import APPLICATION
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.errors import PostgresUnavailable
from chimera.schemas.server_settings import PostgresSettings
from chimera.stores import schema
from chimera.stores.postgres import Database
from tests.stores.places import opened, register

PATIENT = PostgresSettings(pool_max=2, retry_for_ms=20_000)
HASTY = PostgresSettings(pool_max=1, retry_for_ms=300, connect_timeout_ms=300)
FULL = PostgresSettings(pool_max=1, retry_for_ms=300, connect_timeout_ms=1_000)


@pytest.fixture(scope="module")
def mortal() -> Iterator[EmbeddedPostgres]:
    """A server of this module's own: its tests kill it."""
    with EmbeddedPostgres() as started:
        asyncio.run(schema.upgrade(started.owner_dsn, APPLICATION))
        yield started


def test_pool_goes_on_after_kill_and_restart(mortal: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with opened(mortal, PATIENT) as place:
            await register(place.registry)
            for _ in range(3):
                mortal.kill()
                waiting = asyncio.create_task(place.registry.models())
                await asyncio.sleep(0.2)
                assert not waiting.done()
                await asyncio.to_thread(mortal.start)
                assert [model.name for model in await waiting] == ["digits"]

    asyncio.run(run())


def test_pool_goes_on_after_a_session_is_killed(mortal: EmbeddedPostgres) -> None:
    """Postgres then ends every session and recovers, as after a crash."""

    async def run() -> None:
        async with opened(mortal, PATIENT) as place:
            async with place.database.tenant(place.tenant.id) as connection:
                session = await connection.fetchval("SELECT pg_backend_pid()")
            os.kill(session, signal.SIGKILL)
            assert await place.registry.models() == []

    asyncio.run(run())


def test_loss_inside_a_transaction_is_told_and_nothing_of_it_stays(
    mortal: EmbeddedPostgres,
) -> None:
    async def run() -> None:
        async with opened(mortal, PATIENT) as place:
            insert = "INSERT INTO models (tenant_id, name) VALUES ($1, 'half')"
            with pytest.raises(PostgresUnavailable, match="lost inside a transaction"):
                async with place.database.tenant(place.tenant.id) as connection:
                    await connection.execute(insert, place.tenant.id)
                    mortal.kill()
                    await asyncio.to_thread(mortal.start)
                    await connection.execute("SELECT 1")
            assert await place.registry.models() == []

    asyncio.run(run())


def test_loss_before_the_commit_is_told(mortal: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with opened(mortal, PATIENT) as place:
            with pytest.raises(PostgresUnavailable):
                async with place.database.tenant(place.tenant.id):
                    mortal.kill()
            await asyncio.to_thread(mortal.start)

    asyncio.run(run())


def test_start_waits_for_a_server_that_comes(mortal: EmbeddedPostgres) -> None:
    async def run() -> None:
        mortal.kill()
        database = Database(mortal.dsn, PATIENT)
        waiting = asyncio.create_task(database.start())
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await asyncio.to_thread(mortal.start)
        await waiting
        await database.stop()

    asyncio.run(run())


def test_start_without_a_server_gives_up_in_time(mortal: EmbeddedPostgres) -> None:
    async def run() -> float:
        began = time.monotonic()
        with pytest.raises(PostgresUnavailable, match="no Postgres answers at 127.0.0.1"):
            await Database(mortal.dsn, HASTY).start()
        return time.monotonic() - began

    mortal.kill()
    try:
        assert asyncio.run(run()) < 5
    finally:
        mortal.start()


def test_a_full_pool_says_so(mortal: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with Database(mortal.dsn, FULL) as database, database.platform():
            with pytest.raises(
                PostgresUnavailable, match="all 1 connections were in use.*POOL_MAX"
            ):
                async with database.platform():
                    pass

    asyncio.run(run())


def test_a_statement_that_takes_too_long_is_told(mortal: EmbeddedPostgres) -> None:
    async def run() -> None:
        settings = PostgresSettings(command_timeout_ms=500)
        async with opened(mortal, settings) as place:
            with pytest.raises(PostgresUnavailable, match="lost inside|no answer"):
                async with place.database.tenant(place.tenant.id) as connection:
                    await connection.execute("SELECT pg_sleep(60)")
            assert await place.registry.models() == []

    asyncio.run(run())


def test_a_stopped_database_says_so(mortal: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with Database(mortal.dsn) as database:
            pass
        with pytest.raises(PostgresUnavailable, match="has not been started"):
            async with database.platform():
                pass

    asyncio.run(run())
