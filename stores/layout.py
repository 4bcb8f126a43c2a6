"""A version that is to be served, laid out on this machine: its folder, and each tier's artifact.

    <folder>/versions/<digest>/<model>/<version>/    what was registered, its signature checked
    <folder>/artifacts/<sha256>/<file>               what a tier runs, under its own digest

Both are copies of what the store has, compared with their digests; what lies there already is not
brought again. It blocks: give it a thread. `tests/stores/test_layout.py`.
"""

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
        return Placement(model, version.version, digest, str(folder), variants)

    def _variants(self, folder: Path, tiers: Iterable[TierArtifact]) -> Iterable[Variant]:
        for one in tiers:
            tier, _ = read_variant(one.tier)
            file = BY_NAME[tier].file
            if file is None:
                yield Variant(one.tier, str(folder), {}, dict(one.p99_us))
                continue
            own = self._folder / "artifacts" / one.sha256
            if not (own / file).exists():  # whoever opens it compares it with its digest
                own.mkdir(parents=True, exist_ok=True)
                self._artifacts.copy(one.sha256, own / file)
            size = (own / file).stat().st_size
            yield Variant(one.tier, str(own), {file: File(one.sha256, size)}, dict(one.p99_us))
