"""Artifacts: what each tier made of a version, with the report that says whether it may serve.

Reports are kept: making an artifact again adds a row, and the newest counts. Functions over a
tenant's transaction, as in `versions`.
"""

from typing import TYPE_CHECKING

import msgspec

from chimera.stores.registry import versions
from chimera.stores.registry.records import Artifact

if TYPE_CHECKING:
    from uuid import UUID

    from asyncpg import Record

    from chimera.stores.postgres import Connection

_COLUMNS = "tier, precision, target, verdict, reason, sha256, size_bytes, report"
_INSERT = f"""
INSERT INTO artifacts (tenant_id, version_id, {_COLUMNS})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING made_at
"""
_NEWEST = f"""
SELECT DISTINCT ON (tier, precision, target) {_COLUMNS}, made_at FROM artifacts
WHERE version_id = $1 AND (verdict = 'verified' OR NOT $2)
ORDER BY tier, precision, target, made_at DESC
"""


async def add(
    connection: "Connection", tenant_id: "UUID", model: str, version: str, artifact: Artifact
) -> Artifact:
    """Write it down; returns it with the time.

    Raises:
        UnknownModel: no such model, or no such version.
    """
    found = await versions.version(connection, model, version)
    fields = msgspec.structs.asdict(artifact)
    del fields["made_at"]
    fields["report"] = msgspec.json.encode(artifact.report).decode()
    made_at = await connection.fetchval(_INSERT, tenant_id, found.id, *fields.values())
    return msgspec.structs.replace(artifact, made_at=made_at)


async def newest(
    connection: "Connection", model: str, version: str, *, verified: bool = False
) -> list[Artifact]:
    """One for each tier, precision and target; `verified`: the newest that was. Raises as `add`."""
    found = await versions.version(connection, model, version)
    rows = await connection.fetch(_NEWEST, found.id, verified)
    return [_artifact(row) for row in rows]


def _artifact(row: "Record") -> Artifact:
    fields = list(row)
    fields[7] = msgspec.json.decode(fields[7])
    return Artifact(*fields)
