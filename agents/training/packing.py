"""A finished run's folder, signed and stored: what a register command then names; and its manifest, signed.

Inspected in the process that can do no harm, signed with this agent's key. The same folder again is the
same version, the same manifest the same line of the history. `tests/agents/training/test_agent.py`.
"""

from pathlib import Path

import structlog

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.settings import Settings
from chimera.schemas.training_manifest import TrainingManifest
from chimera.stores import keys
from chimera.stores.artifacts import Artifacts
from chimera.stores.versions import Versions
from chimera.workers.inspection.rules import rules
from chimera.workers.packing import pack
from chimera.workers.training import recording

log = structlog.get_logger(__name__)


class Packing:
    """Of one agent."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def pack(self, folder: Path) -> str:
        """The version's digest, once it is stored; it takes seconds.

        Raises:
            ConfigurationError: no key to sign with. ModelRefused: it may not be served.
            ArtifactsUnavailable: the store failed.
        """
        about, held = self._settings.artifacts, self._settings.keys
        key = keys.signing_key(held)
        packed = pack(folder, key, rules(about, keys.trusted(held)))
        store = Versions(Artifacts(about.url, about.cache_dir))
        return store.add(folder, packed.raw, packed.signature)

    def record(self, runs: Path, draft: TrainingManifest) -> TrainingManifest:
        """Sign a trainer's draft, if there is a key that may, and write it down; what was written."""
        try:
            key = keys.find_signing_key(self._settings.keys)
        except ConfigurationError as error:  # its version, which needs a key, is withheld for that
            log.warning("manifest_not_signed", run_id=draft.run_id, reason=str(error))
            key = None
        return recording.record(runs, draft, key)
