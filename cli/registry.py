"""The registry as commands reach it: the database that the settings name, the tenant `default`.

`tests/cli/test_models_registry.py` asks it, and asks where there is none.
"""

import getpass
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from chimera.cli.postgres_address import find_postgres
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.server_settings import PostgresSettings
from chimera.stores.postgres import Database
from chimera.stores.registry.registry import Registry
from chimera.stores.registry.tenants import DEFAULT, Tenants


@asynccontextmanager
async def opened(settings: PostgresSettings, tenant: str = DEFAULT) -> AsyncGenerator[Registry]:
    """The registry of one tenant.

    Raises:
        ConfigurationError: none runs, it has other tables than this release needs, its role may not
            be let in, or it has no such tenant.
        PostgresUnavailable: it does not answer.
    """
    async with Database(find_postgres(settings), settings) as database:
        found = await Tenants(database).find(tenant)
        if found is None:
            raise ConfigurationError(f"the registry has no tenant {tenant}")
        yield Registry(database, found.id)


def actor() -> str:
    """Who the registry writes down as having done it: the account of this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's account without a name
        return f"uid {os.getuid()}"
