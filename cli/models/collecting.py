"""What the registry refers to no more, found in the store of artifacts and removed.

All tenants share the store, so what any of them refers to stays. `tests/cli/test_models_registry.py`.
"""

import asyncio

from chimera.cli.postgres.address import find_postgres
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.settings import Settings
from chimera.stores import garbage
from chimera.stores.artifacts import Artifacts
from chimera.stores.garbage import Collected
from chimera.stores.postgres import Database
from chimera.stores.registry.registry import Registry
from chimera.stores.registry.tenants import Tenants


async def collect(settings: Settings, older_s: float, *, removes: bool) -> Collected:
    """Remove, or without `removes` only find, what is older than that and not referred to.

    Raises:
        ConfigurationError: the registry refers to nothing, so it is not this store's.
        ArtifactMissing, ArtifactDamaged: something that is referred to is not there as it was;
            nothing was removed. ArtifactsUnavailable, PostgresUnavailable.
    """
    keep: set[str] = set()
    async with Database(find_postgres(settings.postgres), settings.postgres) as database:
        for tenant in await Tenants(database).all():
            keep |= await Registry(database, tenant.id).kept(older_s)
    url = settings.artifacts.url
    if not keep:
        raise ConfigurationError(
            f"no version is registered, so all of {url} would go: is it this registry's?"
        )
    store = Artifacts(url, settings.artifacts.cache_dir)
    return await asyncio.to_thread(garbage.collect, store, keep, older_s, removes=removes)
