"""Policies: named JSON documents of a tenant, such as what a promotion has to show before it stands.

The registry keeps them and does not read them. Whoever puts one tells the audit log: the event is in
the same transaction. Functions over a tenant's transaction, as in
`versions`. `tests/stores/registry/test_registry.py`.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from chimera.schemas.control_actions import policy_put
from chimera.stores.registry import audit_events
from chimera.stores.registry.records import Policy

if TYPE_CHECKING:
    from uuid import UUID

    from chimera.stores.postgres import Connection

_PUT = """
INSERT INTO policies (tenant_id, name, body, updated_by) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id, name) DO UPDATE
SET body = excluded.body, updated_by = excluded.updated_by, updated_at = now()
RETURNING updated_at
"""


async def put(
    connection: "Connection", tenant_id: "UUID", name: str, body: Mapping[str, Any], actor: str
) -> None:
    """Write it down, over the one before.

    Raises:
        SchemaInvalid: nobody could read its audit event, for its body or its actor.
    """
    text = msgspec.json.encode(dict(body)).decode()
    at = await connection.fetchval(_PUT, tenant_id, name, text, actor)
    told = partial(policy_put, name=name, body=body)
    await audit_events.add(connection, tenant_id, actor, at, told)


async def find(connection: "Connection", name: str) -> Policy | None:
    row = await connection.fetchrow(
        "SELECT name, body, updated_at, updated_by FROM policies WHERE name = $1", name
    )
    return None if row is None else Policy(row[0], msgspec.json.decode(row[1]), row[2], row[3])
