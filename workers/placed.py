"""The versions that a node was told to hold, found; its word for them is checked again.

An executor takes from its node where files lie and whom to trust. That they are what was registered
it sees for itself, at each load: the manifest's bytes have the digest that results will name and a
trusted key's signature, each file has the manifest's or the report's digest, and native code a
signature of its own. `tests/workers/test_placed.py` changes each of them.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from chimera.schemas.compile_report import read_variant
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import Manifest
from chimera.schemas.placements import Placement, Variant
from chimera.schemas.tiers import BY_NAME
from chimera.workers.models import (
    Found,
    Refusal,
    Version,
    read_manifest,
    require_entries,
    require_names,
)

if TYPE_CHECKING:
    from chimera.schemas.signing import Trusted


def find_placed(placements: Iterable[Placement]) -> Found:
    """Each from its own folder; one that is refused hides no other."""
    versions: list[Version] = []
    refusals: list[Refusal] = []
    for one in placements:
        try:
            manifest = _manifest(one)
        except (ModelRefused, OSError) as error:
            refusals.append(Refusal(one.model, one.version, str(error)))
        else:
            found = Version(Path(one.folder), manifest, one.digest, one.variants, one.trusted)
            versions.append(found)
    return Found(tuple(versions), tuple(refusals))


def require_native(variant: Variant, trusted: tuple[str, ...] | None) -> None:
    """Refuse native code that was not made here, before anything opens it.

    Raises:
        SignatureInvalid: nobody trusted vouches for it.
        ModelRefused: no signature lies there, or there is no such tier.
    """
    tier = BY_NAME[read_variant(variant.name)[0]]
    if tier.native and tier.file is not None:
        from chimera.workers.vouching import require_program

        require_program(Path(variant.folder) / tier.file, _keys(trusted or ()))


def _manifest(placement: Placement) -> Manifest:
    folder = Path(placement.folder)
    if placement.trusted is None:
        return read_manifest(folder)
    from chimera.workers.vouching import read_signed

    require_entries(folder)
    manifest = read_signed(folder, _keys(placement.trusted), placement.digest)
    require_names(folder, manifest)
    return manifest


@cache
def _keys(texts: tuple[str, ...]) -> "Trusted":
    from chimera.schemas.signing import Trusted, read_public  # 20 ms, for signed folders alone

    return Trusted(read_public(text, "a trusted key") for text in texts)
