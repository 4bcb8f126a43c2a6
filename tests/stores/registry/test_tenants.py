"""Tenants: one from the start, others by name, each once."""

import asyncio
import uuid

import asyncpg
import pytest

from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.model_names import DEFAULT_TENANT
from chimera.stores.postgres import Database
from chimera.stores.registry.tenants import Tenants


def test_default_is_there_from_the_first_revision(server: EmbeddedPostgres) -> None:
    async def find() -> None:
        async with Database(server.dsn) as database:
            found = await Tenants(database).find()
            assert found is not None
            assert found.name == DEFAULT_TENANT

    asyncio.run(find())


def test_create_twice_is_the_same_tenant(server: EmbeddedPostgres) -> None:
    async def create() -> None:
        name = f"t{uuid.uuid4().hex}"
        async with Database(server.dsn) as database:
            tenants = Tenants(database)
            assert await tenants.find(name) is None
            both = await asyncio.gather(tenants.create(name), tenants.create(name))
            assert both[0] == both[1] == await tenants.find(name)
            assert both[0] in await tenants.all()

    asyncio.run(create())


@pytest.mark.parametrize("name", ["", " ", "a/b", "-a", "a" * 129, "a\n"])
def test_a_name_that_is_none_is_refused_by_us_and_by_the_table(
    server: EmbeddedPostgres, name: str
) -> None:
    async def create() -> None:
        async with Database(server.dsn) as database:
            with pytest.raises(ConfigurationError, match="is no name"):
                await Tenants(database).create(name)
            with pytest.raises(asyncpg.CheckViolationError):
                async with database.platform() as connection:
                    await connection.execute("INSERT INTO tenants (name) VALUES ($1)", name)

    asyncio.run(create())
