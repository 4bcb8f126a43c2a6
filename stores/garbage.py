"""What nothing refers to any more, removed from the store of artifacts.

Referred to are the digests that a registry keeps: versions, whose manifests name files, and files
by themselves (what was compiled). Everything younger than the grace period stays, because a
registration stores first and refers afterwards. Where files are removed and written in the same
moment, `Versions.put_manifest` notices that one is missing. `tests/stores/test_garbage.py`.
"""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime

from chimera.schemas import manifest as manifests
from chimera.schemas.errors import ArtifactMissing
from chimera.stores.artifacts import BLOBS, Artifacts
from chimera.stores.place import Place
from chimera.stores.versions import MANIFESTS, Versions


@dataclass(frozen=True, slots=True)
class Collected:
    versions: tuple[str, ...]  # digests
    blobs: tuple[str, ...]  # digests
    leftovers: int  # of writers that died


def collect(
    artifacts: Artifacts,
    keep: Collection[str],
    grace_s: float,
    now: datetime | None = None,
    *,
    removes: bool = True,
) -> Collected:
    """Remove what `keep`, digests of versions and of files, does not need; or only tell it.

    Raises:
        ArtifactMissing: one that should be kept is not there; nothing was removed.
        ArtifactDamaged: the manifest of one is no longer what it was; nothing was removed.
        ArtifactsUnavailable: the store failed, perhaps in the middle; what is left is left.
    """
    now = now or datetime.now(UTC)
    place, needed = artifacts.place, _needed(artifacts, frozenset(keep))

    def takes(name: str) -> bool:
        if not _is_old(place, name, grace_s, now):
            return False
        if removes:
            place.remove(name)
        return True

    def swept(folder: str, part: int) -> tuple[str, ...]:
        """Digests, which are this part of a name, of what is not needed."""
        names = {name: name.split("/")[part] for name in place.names(folder)}
        gone = [one for name, one in names.items() if one not in needed and takes(name)]
        return tuple(dict.fromkeys(gone))

    return Collected(swept(MANIFESTS, 1), swept(BLOBS, 2), sum(map(takes, place.leftovers())))


def _needed(artifacts: Artifacts, keep: AbstractSet[str]) -> AbstractSet[str]:
    """What is kept, and the files of the versions among it."""
    versions, needed = Versions(artifacts), set(keep)
    for digest in keep:
        if versions.has(digest):
            found = manifests.decode(versions.stored(digest), f"version {digest}")
            needed.update(file.sha256 for file in found.files.values())
    for digest in needed:
        if not versions.has(digest) and not artifacts.has(digest):
            raise ArtifactMissing(f"{digest} should be kept and is not stored; nothing was removed")
    return needed


def _is_old(place: Place, name: str, grace_s: float, now: datetime) -> bool:
    try:
        return place.age_s(name, now) > grace_s
    except ArtifactMissing:  # somebody else was first
        return False
