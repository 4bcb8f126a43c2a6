"""A finished run's folder, signed and stored: what a register command then names.

Inspected in the process that can do no harm, signed with this agent's key. The same folder again is the
same version. `tests/agents/training/test_agent.py`.
"""

from pathlib import Path

from chimera.schemas.settings import Settings
from chimera.stores import keys
from chimera.stores.artifacts import Artifacts
from chimera.stores.versions import Versions
from chimera.workers.inspection.rules import rules
from chimera.workers.packing import pack


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
