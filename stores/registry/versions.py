"""Models and their versions: registered once, never changed.

Functions over a tenant's transaction (`postgres.Database.tenant`), so that `registry` can put
several into one.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from chimera.schemas.control_actions import version_registered
from chimera.schemas.errors import ModelRefused, UnknownModel, VersionTaken
from chimera.schemas.manifest import File, Manifest
from chimera.stores.registry import audit_events
from chimera.stores.registry.records import Model, Version

if TYPE_CHECKING:
    from asyncpg import Record

    from chimera.stores.postgres import Connection

_FILES = msgspec.json.Decoder(dict[str, File])
_MANIFEST = msgspec.json.Decoder(Manifest)

_SELECT = """
SELECT v.id, m.name, v.version, v.manifest_bytes, v.manifest, v.sha256, v.files, v.registered_at,
       v.registered_by
FROM versions v JOIN models m ON (m.tenant_id, m.id) = (v.tenant_id, v.model_id)
"""
_INSERT = """
INSERT INTO versions
    (tenant_id, model_id, version, manifest_bytes, manifest, sha256, files, registered_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (tenant_id, model_id, version) DO NOTHING
RETURNING registered_at
"""


async def models(connection: "Connection") -> list[Model]:
    """In the order of their names."""
    rows = await connection.fetch(
        "SELECT m.id, m.name, m.created_at, count(v.id) FROM models m "
        "LEFT JOIN versions v ON (v.tenant_id, v.model_id) = (m.tenant_id, m.id) "
        "GROUP BY m.tenant_id, m.id ORDER BY m.name"
    )
    return [Model(*row) for row in rows]


async def model_id(connection: "Connection", model: str) -> UUID:
    """Raises:
    UnknownModel: this tenant has none of that name.
    """
    found: UUID | None = await connection.fetchval("SELECT id FROM models WHERE name = $1", model)
    if found is None:
        raise UnknownModel(f"no model {model} is registered")
    return found


async def versions(connection: "Connection", model: str) -> list[Version]:
    """Of one model, the newest first. Raises as `model_id`."""
    rows = await connection.fetch(
        f"{_SELECT} WHERE v.model_id = $1 ORDER BY v.registered_at DESC, v.version DESC",
        await model_id(connection, model),
    )
    return [_version(row) for row in rows]


async def version(connection: "Connection", model: str, name: str) -> Version:
    """Raises:
    UnknownModel: this tenant has no such model, or the model no such version.
    """
    row = await connection.fetchrow(
        f"{_SELECT} WHERE v.model_id = $1 AND v.version = $2",
        await model_id(connection, model),
        name,
    )
    if row is None:
        raise UnknownModel(f"no version {name} of model {model} is registered")
    return _version(row)


async def register(
    connection: "Connection",
    tenant_id: UUID,
    manifest_bytes: bytes,
    manifest: Manifest,
    files: Mapping[str, File],
    *,
    actor: str,
) -> Version:
    """Write a version down, with its model where that is new; the same bytes again change nothing.

    The audit log is told of a new one.

    Raises:
        VersionTaken: other bytes are registered under that name and version.
        ModelRefused: the manifest holds what the registry cannot.
    """
    text = msgspec.json.encode(manifest).decode()
    if "\\u0000" in text:
        raise ModelRefused(
            f"{manifest.name} {manifest.version}: the manifest holds a NUL character"
        )
    await connection.execute(
        "INSERT INTO models (tenant_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        tenant_id,
        manifest.name,
    )
    at = await connection.fetchval(
        _INSERT,
        tenant_id,
        await model_id(connection, manifest.name),
        manifest.version,
        manifest_bytes,
        text,
        manifest.sha256,
        msgspec.json.encode(dict(files)).decode(),
        actor,
    )
    found = await version(connection, manifest.name, manifest.version)
    if found.manifest_bytes != manifest_bytes or found.files != dict(files):
        raise VersionTaken(
            f"{manifest.name} {manifest.version} was registered with another manifest at "
            f"{found.registered_at:%Y-%m-%d %H:%M:%S %Z} by {found.registered_by}; a version never "
            "changes: choose another"
        )
    if at is not None:
        name = f"{manifest.name} {manifest.version}"
        told = partial(version_registered, name=name, digest=found.digest)
        await audit_events.add(connection, tenant_id, actor, at, told)
    return found


def _version(row: "Record") -> Version:
    fields = list(row)
    fields[4] = _MANIFEST.decode(fields[4])
    fields[6] = _FILES.decode(fields[6])
    return Version(*fields)
