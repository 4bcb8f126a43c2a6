"""The outbox: records for Kafka, written in the transaction of what they tell.

A publisher sends what is `pending`, oldest first, and deletes it once the broker has it: after a
kill at any step a record is sent again rather than lost, and rows of one key are in the order in
which they happened. `tests/stores/registry/test_outbox.py`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from chimera.stores.postgres import Database
from chimera.stores.registry.records import OutboxRecord

if TYPE_CHECKING:
    from asyncpg import Record

    from chimera.stores.postgres import Connection

_PENDING = """
SELECT id, topic, key, value, headers, created_at FROM outbox
WHERE topic = ANY($2) AND NOT id = ANY($3::bigint[]) ORDER BY id LIMIT $1
"""
_HEADERS = msgspec.json.Decoder(tuple[tuple[str, str], ...])


TRAINING, COMMANDS = "training.events", "models.commands"
AUDIT = "audit.events"
OF_TRAINING = (TRAINING, COMMANDS)
OF_CONTROL = ("models.events", "models.state", AUDIT)


class Outbox:
    """For the one publisher of some topics; it sees every tenant's records for them."""

    def __init__(self, database: Database, topics: Sequence[str] = OF_CONTROL) -> None:
        self._database, self._topics = database, list(topics)

    async def pending(self, limit: int = 256, but: Collection[int] = ()) -> list[OutboxRecord]:
        """The oldest records that are still to be sent; `but`: without these ids."""
        async with self._database.platform() as connection:
            rows = await connection.fetch(_PENDING, limit, self._topics, list(but))
        return [_record(row) for row in rows]

    async def forget(self, ids: Sequence[int]) -> None:
        """The broker has them."""
        async with self._database.platform() as connection:
            await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", list(ids))


async def add(
    connection: "Connection",
    tenant_id: UUID,
    topic: str,
    key: bytes,
    value: bytes,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Write a record down; a part of the caller's transaction, in which the tenant is set."""
    await connection.execute(
        "INSERT INTO outbox (tenant_id, topic, key, value, headers) VALUES ($1, $2, $3, $4, $5)",
        tenant_id,
        topic,
        key,
        value,
        msgspec.json.encode(list((headers or {}).items())).decode(),
    )


def _record(row: "Record") -> OutboxRecord:
    fields = list(row)
    fields[4] = _HEADERS.decode(fields[4])
    return OutboxRecord(*fields)
