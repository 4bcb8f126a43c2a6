"""What executors hold, and which of it answers: a node's orders to its executors.

    Placement   one version, by its digest and the folder that has its files
    Share       a version, and its part of a model's traffic
    Traffic     the shares of each model; a model that is not in it answers nothing

Holding and answering are apart, so that a version is loaded and warm before any request goes to it,
and one that was called back is there when it is wanted again. `tests/workers/test_placing.py`.
"""

from typing import Annotated

import msgspec

from chimera.schemas.manifest import Digest


class Placement(msgspec.Struct, frozen=True):
    model: str
    version: str
    digest: Digest  # of the version's manifest; it goes into every result
    folder: str  # <model>/<version>, with the manifest and its files

    @property
    def name(self) -> str:
        """How logs and the board call it."""
        return f"{self.model}/{self.version}"


class Share(msgspec.Struct, frozen=True):
    version: str
    weight: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1  # beside the other shares' weights


Traffic = dict[str, tuple[Share, ...]]


class Orders(msgspec.Struct, frozen=True):
    """What a node's executors hold, and who answers."""

    placements: tuple[Placement, ...] = ()
    traffic: Traffic = {}
