"""Tenants: whose models they are. `default` is there from the first revision on.

A tenant's id is random; names are the platform's, and only it can list them.
`tests/stores/registry/test_tenants.py`.
"""

from typing import TYPE_CHECKING
from uuid import UUID

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.manifest import is_name
from chimera.schemas.model_names import DEFAULT_TENANT
from chimera.stores.postgres import Database
from chimera.stores.registry.records import Tenant

if TYPE_CHECKING:
    from chimera.stores.postgres import Connection


_COLUMNS = "id, name, created_at"


class Tenants:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, name: str) -> Tenant:
        """Make one; the one that bears the name already is as good.

        Raises:
            ConfigurationError: that is no name.
        """
        if not is_name(name):
            raise ConfigurationError(f"tenant {name!r} is no name: letters, digits, . _ -")
        async with self._database.platform() as connection:
            await connection.execute(
                "INSERT INTO tenants (name) VALUES ($1) ON CONFLICT (name) DO NOTHING", name
            )
            found = await _find(connection, name)
        if found is None:
            raise AssertionError(f"tenant {name} is neither new nor there")
        return found

    async def find(self, name: str = DEFAULT_TENANT) -> Tenant | None:
        async with self._database.platform() as connection:
            return await _find(connection, name)

    async def all(self) -> list[Tenant]:
        """In the order of their names."""
        async with self._database.platform() as connection:
            rows = await connection.fetch(f"SELECT {_COLUMNS} FROM tenants ORDER BY name")
        return [Tenant(*row) for row in rows]


async def name_of(connection: "Connection", tenant_id: UUID) -> str:
    """The name of the transaction's own tenant.

    Raises:
        ConfigurationError: there is none with this id.
    """
    name = await connection.fetchval("SELECT name FROM tenants WHERE id = $1", tenant_id)
    if name is None:
        raise ConfigurationError(f"no tenant has the id {tenant_id}")
    return str(name)


async def _find(connection: "Connection", name: str) -> Tenant | None:
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM tenants WHERE name = $1", name)
    return None if row is None else Tenant(*row)
