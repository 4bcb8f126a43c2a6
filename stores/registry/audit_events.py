"""What is done to the registry, told to the audit log: in the transaction that does it, or not at all.

It goes into the outbox, for the controller to publish. `tests/stores/registry/test_registry.py`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from chimera.schemas.control_actions import Act
from chimera.schemas.transparency.leaves import ActionTaken, encode_leaf
from chimera.stores.registry import outbox, tenants

if TYPE_CHECKING:
    from chimera.stores.postgres import Connection


async def add(
    connection: "Connection",
    tenant_id: UUID,
    actor: str,
    at: datetime,
    event_of: Callable[[Act], ActionTaken],
) -> None:
    """A part of the caller's transaction; `event_of`: one of `control_actions`, of who did it.

    Raises:
        SchemaInvalid: nobody could read the event.
    """
    tenant = await tenants.name_of(connection, tenant_id)
    act = Act(actor, int(at.timestamp() * 1000), uuid4().hex, tenant=tenant)
    event = encode_leaf(event_of(act))
    await outbox.add(connection, tenant_id, outbox.AUDIT, actor.encode(), event)
