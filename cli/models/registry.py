"""The registry as commands reach it: the database that the settings name, the tenant `default`.

`tests/cli/test_models_registry.py` asks it, and asks where there is none.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from chimera.cli.postgres.address import find_postgres
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.model_names import DEFAULT_TENANT
from chimera.schemas.server_settings import PostgresSettings
from chimera.stores.postgres import Database
from chimera.stores.registry.registry import Registry
from chimera.stores.registry.tenants import Tenants


@asynccontextmanager
async def opened(
    settings: PostgresSettings, tenant: str = DEFAULT_TENANT
) -> AsyncGenerator[Registry]:
    """The registry of one tenant. Raises as `reached`."""
    async with reached(settings, tenant) as (_, registry):
        yield registry


@asynccontextmanager
async def reached(
    settings: PostgresSettings, tenant: str = DEFAULT_TENANT
) -> AsyncGenerator[tuple[Database, Registry]]:
    """The same, and the database that it lies in.

    Raises:
        ConfigurationError: none runs, it has other tables than this release needs, its role may not
            be let in, or it has no such tenant.
        PostgresUnavailable: it does not answer.
    """
    async with Database(find_postgres(settings), settings) as database:
        found = await Tenants(database).find(tenant)
        if found is None:
            raise ConfigurationError(f"the registry has no tenant {tenant}")
        yield database, Registry(database, found.id)
