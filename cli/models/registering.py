"""A folder into a registered version: inspected, signed, stored, written down, in this order.

Each step finds what an earlier run has done, so a command that was killed is simply given again. The
registry comes last: what it names is stored. `tests/cli/test_models_registry.py`.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from chimera.cli.models.registry import opened
from chimera.schemas.errors import UnknownModel
from chimera.schemas.settings import Settings
from chimera.stores import keys
from chimera.stores.artifacts import Artifacts
from chimera.stores.registry.records import Version
from chimera.stores.registry.registry import Registry
from chimera.stores.versions import Versions
from chimera.workers.inspection.rules import rules
from chimera.workers.packing import pack


@dataclass(frozen=True, slots=True)
class Registered:
    version: Version
    digest: str  # of the version: the SHA-256 of its manifest's bytes
    key_id: str  # that signed it
    is_new: bool  # else these very bytes were registered before


async def register(folder: Path, settings: Settings, actor: str) -> Registered:
    """Register what lies in a folder; the folder stays as it is.

    Raises:
        ConfigurationError: no key to sign with, or no registry; says which command makes it.
        ModelRefused: a file may not be served, or the manifest is not theirs.
        VersionTaken: other bytes are registered under that name and version; nothing was stored.
        ArtifactsUnavailable, PostgresUnavailable: a server failed; again may help.
    """
    key = keys.signing_key(settings.keys)
    allowed = rules(settings.artifacts, keys.trusted(settings.keys))
    store = Versions(Artifacts(settings.artifacts.url, settings.artifacts.cache_dir))
    async with opened(settings.postgres) as registry:
        packed = await asyncio.to_thread(pack, folder, key, allowed)
        manifest = packed.manifest
        before = await _found(registry, manifest.name, manifest.version)
        if before is None or before.manifest_bytes == packed.raw:  # else the registry refuses it
            await asyncio.to_thread(store.add, folder, packed.raw, packed.signature)
        version = await registry.register(packed.raw, manifest, manifest.files, actor=actor)
    return Registered(version, packed.digest, key.public.key_id, before is None)


async def _found(registry: Registry, model: str, version: str) -> Version | None:
    try:
        return await registry.version(model, version)
    except UnknownModel:
        return None
