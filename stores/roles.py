"""Who may use the registry: a role that Row Level Security binds, on tables of this release.

A superuser, a role with BYPASSRLS and the owner of a table can all step past the policies, and so
can a role that may become one of them; one with CREATEROLE may make itself a member of them, before
Postgres 16. None of these is let in. `tests/stores/test_roles.py` tries each.
"""

from typing import TYPE_CHECKING

import asyncpg

from chimera.schemas.errors import ConfigurationError
from chimera.stores.migrations import HEAD

if TYPE_CHECKING:
    from chimera.stores.postgres import Connection

SETTING = "CHIMERA_POSTGRES__DSN"

_RIGHTS = """
SELECT current_user AS role,
  (SELECT min(rolname) FROM pg_roles
    WHERE rolsuper AND pg_has_role(current_user, oid, 'MEMBER')) AS superuser,
  (SELECT min(rolname) FROM pg_roles
    WHERE rolbypassrls AND pg_has_role(current_user, oid, 'MEMBER')) AS bypassing,
  (SELECT min(rolname) FROM pg_roles
    WHERE rolcreaterole AND pg_has_role(current_user, oid, 'MEMBER')) AS creating,
  (SELECT min(c.oid::regclass::text) FROM pg_class c
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relnamespace::regnamespace::text
      NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    AND pg_has_role(current_user, c.relowner, 'MEMBER')) AS owned
"""


async def require_bound(connection: "Connection") -> None:
    """Refuse a role that could see another tenant's rows.

    Raises:
        ConfigurationError: says which right it has, and what to do.
    """
    found = await connection.fetchrow(_RIGHTS)
    if found is None:
        raise AssertionError("a query of constants without a row")
    reasons = {
        "superuser": "is, or can become, the superuser {}",
        "bypassing": "has, or can take from {}, the right BYPASSRLS",
        "creating": "has, or can take from {}, the right CREATEROLE",
        "owned": "owns, or can become the owner of, {}",
    }
    for right, reason in reasons.items():
        if found[right] is not None:
            raise ConfigurationError(
                f"{SETTING}: the role {found['role']} {reason.format(found[right])}: tenants would "
                "not be kept apart; name a role that owns nothing (NOSUPERUSER NOBYPASSRLS NOCREATEROLE)"
            )


async def require_schema(connection: "Connection") -> None:
    """Refuse tables of another release.

    Raises:
        ConfigurationError: names both revisions, and what to do.
    """
    found = await revision(connection)
    if found != HEAD:
        is_at = f"is at revision {found}" if found else "has no tables for this role"
        raise ConfigurationError(
            f"{SETTING}: the registry {is_at}, this release needs {HEAD}: `chimera db upgrade`"
        )


async def revision(connection: "Connection | asyncpg.Connection[asyncpg.Record]") -> str | None:
    """Of the tables, as far as this role may see them; None: there are none for it."""
    try:
        found: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    except (asyncpg.UndefinedTableError, asyncpg.InsufficientPrivilegeError):
        return None
    return found
