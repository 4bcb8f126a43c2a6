"""A version that is to be served, laid out on this machine: its folder, and each tier's artifact.

    <folder>/versions/<digest>/<model>/<version>/    what was registered, its signature checked
    <folder>/artifacts/<sha256>/<file>               what a tier runs, under its own digest
    <folder>/artifacts/<sha256>-<others>/<file> ...  the same with what it needs: plan, signature

All are copies of what the store has, compared with their digests; what lies there already is not
brought again, and who loads it compares anew. It blocks: give it a thread. `tests/stores/test_layout.py`.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from chimera.schemas.compile_report import read_variant
from chimera.schemas.manifest import File
from chimera.schemas.model_state import LiveVersion, ShadowVersion, TierArtifact
from chimera.schemas.placements import Placement, Variant
from chimera.schemas.signing import Trusted
from chimera.schemas.tiers import BY_NAME
from chimera.stores.artifacts import Artifacts
from chimera.stores.versions import Versions


class Layout:
    """Of one node."""

    def __init__(self, artifacts: Artifacts, trusted: Trusted, folder: Path) -> None:
        self._artifacts = artifacts
        self._versions = Versions(artifacts)
        self._trusted = trusted
        self._folder = folder.expanduser().absolute()

    def place(self, model: str, version: LiveVersion | ShadowVersion) -> Placement:
        """Bring what it needs.

        Raises:
            ModelRefused: nobody trusted vouches for it, or a tier that is none.
            ArtifactMissing, ArtifactDamaged, ArtifactsUnavailable. OSError: the folder failed.
        """
        digest = version.sha256
        models_dir = self._folder / "versions" / digest
        models_dir.mkdir(parents=True, exist_ok=True)
        folder = self._versions.materialize(digest, models_dir, self._trusted)
        variants = tuple(self._variants(folder, version.tiers))
        keys = tuple(key.text for key in self._trusted)
        return Placement(model, version.version, digest, str(folder), variants, keys)

    def _variants(self, folder: Path, tiers: Iterable[TierArtifact]) -> Iterable[Variant]:
        for one in tiers:
            tier, _ = read_variant(one.tier)
            file = BY_NAME[tier].file
            if file is None:
                yield Variant(one.tier, str(folder), {}, dict(one.p99_us))
                continue
            own = self._folder / "artifacts" / _key(one)
            own.mkdir(parents=True, exist_ok=True)
            files = {
                name: self._bring(sha256, own / name)
                for name, sha256 in {**one.beside, file: one.sha256}.items()
            }
            yield Variant(one.tier, str(own), files, dict(one.p99_us), one.target)

    def _bring(self, sha256: str, path: Path) -> File:
        if not path.exists():
            self._artifacts.copy(sha256, path)
        return File(sha256, path.stat().st_size)


def _key(artifact: TierArtifact) -> str:
    """A folder holds one set of files: the same program may have another key's signature."""
    if not artifact.beside:
        return artifact.sha256
    others = "\n".join(f"{name} {sha256}" for name, sha256 in sorted(artifact.beside.items()))
    return f"{artifact.sha256}-{hashlib.sha256(others.encode()).hexdigest()[:16]}"
