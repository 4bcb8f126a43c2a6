"""A folder into a registered version: inspected, signed, stored, written down, in this order.

Each step finds what an earlier run has done, so a command that was killed is simply given again. The
registry comes last: what it names is stored. Where a controller leads it is the one that writes it
down, by a command with its answer on `models.events`; else, or where Kafka is away, this does.
`tests/cli/test_models_registry.py`, and `test_model_commands.py` with a controller.
"""

import asyncio
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chimera.cli.models.commanding import give
from chimera.cli.models.registry import reached
from chimera.cli.stack.state import find_bootstrap
from chimera.schemas.errors import (
    ConfigurationError,
    KafkaUnavailable,
    ModelRefused,
    UnknownModel,
)
from chimera.schemas.model_commands import STORED, RegisterModel
from chimera.schemas.model_names import DEFAULT_TENANT
from chimera.schemas.settings import Settings
from chimera.stores import keys
from chimera.stores.artifacts import Artifacts
from chimera.stores.postgres import Database
from chimera.stores.registry import leadership
from chimera.stores.registry.records import Version
from chimera.stores.registry.registry import Registry
from chimera.stores.versions import Versions
from chimera.workers.inspection.rules import rules
from chimera.workers.packing import Packed, pack

WITHIN_S = 60.0  # other registers come first


@dataclass(frozen=True, slots=True)
class Registered:
    version: Version
    digest: str  # of the version: the SHA-256 of its manifest's bytes
    key_id: str  # that signed it
    is_new: bool  # else these very bytes were registered before


async def register(
    folder: Path,
    settings: Settings,
    actor: str,
    *,
    bootstrap: str | None = None,
    within_s: float = WITHIN_S,
) -> Registered:
    """Register what lies in a folder; the folder stays as it is.

    Raises:
        ConfigurationError: no key to sign with, or no registry; says which command makes it.
        ModelRefused: a file may not be served, or the manifest is not theirs; or the controller
            says so, or says nothing within that time.
        VersionTaken: other bytes are registered under that name and version; nothing was stored.
        ArtifactsUnavailable, PostgresUnavailable: a server failed; again may help.
    """
    key = keys.signing_key(settings.keys)
    allowed = rules(settings.artifacts, keys.trusted(settings.keys))
    store = Versions(Artifacts(settings.artifacts.url, settings.artifacts.cache_dir))
    async with reached(settings.postgres) as (database, registry):
        packed = await asyncio.to_thread(pack, folder, key, allowed)
        manifest = packed.manifest
        before = await _found(registry, manifest.name, manifest.version)
        if before is None or before.manifest_bytes == packed.raw:  # else the registry refuses it
            await asyncio.to_thread(store.add, folder, packed.raw, packed.signature)
        where = await _controlled(database, settings, bootstrap) if before is None else None
        if where is not None:
            with suppress(KafkaUnavailable):
                await _command(packed, settings, actor, where, within_s)
        version = await registry.register(packed.raw, manifest, manifest.files, actor=actor)
    return Registered(version, packed.digest, key.public.key_id, before is None)


async def _found(registry: Registry, model: str, version: str) -> Version | None:
    try:
        return await registry.version(model, version)
    except UnknownModel:
        return None


async def _controlled(database: Database, settings: Settings, bootstrap: str | None) -> str | None:
    """Where commands for this registry's controller go; None: it has none, or no Kafka is known."""
    if not await leadership.is_led(database):
        return None
    try:
        return bootstrap or find_bootstrap(settings)
    except ConfigurationError:
        return None


async def _command(
    packed: Packed, settings: Settings, actor: str, bootstrap: str, within_s: float
) -> None:
    """Have the controller inspect and register what is stored, and tell it. Raises ModelRefused."""
    manifest = packed.manifest
    command = RegisterModel(
        command_id=uuid.uuid4().hex,
        tenant=DEFAULT_TENANT,
        model=manifest.name,
        actor=actor,
        version=manifest.version,
        source=STORED,
        manifest_sha256=packed.digest,
    )
    answer = await give(settings, bootstrap, command, within_s)
    if answer is None:
        raise ModelRefused(
            f"no answer to {command.command_id} within {within_s:g} s; the version is stored, and "
            "registered when the controller has done what came before"
        )
    if answer.outcome != "done":
        raise ModelRefused(f"the controller has {answer.outcome} it: {answer.error}")
