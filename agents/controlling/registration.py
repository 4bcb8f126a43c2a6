"""Registers a version for a command: nothing is known that was not looked at here.

    stored, or brought from its source ── signature ── inspected, confined ── stored ── one row

A trusted signature says who vouches for the manifest, and its digests that the files are those; what
the files hold is inspected all the same, in the process that can do no harm: a command is a record
that anybody with the topic can write, and whoever signed may have inspected nothing, or by other
rules than these. `source` is opened only where the store lacks the version, and only below the
settings' prefixes. `tests/agents/controlling/test_registration.py`.
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from chimera.schemas.errors import ArtifactsUnavailable, ModelRefused
from chimera.schemas.model_commands import RegisterModel
from chimera.schemas.settings import Settings
from chimera.schemas.signing import Trusted
from chimera.stores.artifacts import Artifacts
from chimera.stores.registry.registry import Registry
from chimera.stores.sources import Sources
from chimera.stores.versions import Signed, Versions
from chimera.workers.inspection.inspector import inspect
from chimera.workers.inspection.rules import rules


class Registration:
    """Of one controller."""

    def __init__(self, settings: Settings, artifacts: Artifacts, trusted: Trusted) -> None:
        about = settings.artifacts
        self._versions, self._trusted = Versions(artifacts), trusted
        self._rules = rules(about, trusted)
        self._sources = Sources(about.sources, trusted, about.max_file_bytes)
        self._within_s = about.source_within_s

    async def register(self, command: RegisterModel, registry: Registry) -> None:
        """Register it; the same command again changes nothing.

        Raises:
            ModelRefused: not signed, not what the command says, or it may not be served.
            VersionTaken; ArtifactsUnavailable, PostgresUnavailable: again may help.
        """
        try:
            async with asyncio.timeout(self._within_s):
                signed = await asyncio.to_thread(self._inspected, command)
        except TimeoutError:
            raise ArtifactsUnavailable(
                f"{command.source}: not brought and inspected within {self._within_s:g} s"
            ) from None
        manifest = signed.manifest
        await registry.register(signed.raw, manifest, manifest.files, actor=command.actor)

    def _inspected(self, command: RegisterModel) -> Signed:
        """What is stored now, and may be served."""
        with TemporaryDirectory(prefix="chimera-register-") as scratch:
            if self._versions.has(command.manifest_sha256):
                signed = self._versions.read(command.manifest_sha256, self._trusted)
                _require_named(signed, command)
                folder = self._versions.materialize(
                    command.manifest_sha256, Path(scratch), self._trusted
                )
                self._inspect(folder, signed)
                return signed
            folder = Path(scratch)
            signed = self._sources.bring(command.source, command.manifest_sha256, folder)
            _require_named(signed, command)
            self._inspect(folder, signed)
            self._versions.add(folder, signed.raw, signed.signature)
            return signed

    def _inspect(self, folder: Path, signed: Signed) -> None:
        if inspect(folder, self._rules) != signed.manifest:
            raise ModelRefused("its files are not what its manifest says of them")


def _require_named(signed: Signed, command: RegisterModel) -> None:
    manifest = signed.manifest
    if (manifest.name, manifest.version) != (command.model, command.version):
        raise ModelRefused(
            f"manifest {command.manifest_sha256} is of {manifest.name} {manifest.version}, "
            f"not of {command.model} {command.version}"
        )
