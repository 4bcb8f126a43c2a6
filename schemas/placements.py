"""What executors hold, and which of it answers: a node's orders to its executors.

    Placement   one version, by its digest and the folder that has its files
    Traffic     weights of versions, for each model; one that is not in it answers nothing
    Shadows     for a model, the version that computes beside those that answer, to be compared
    paused      models whose requests wait, whoever would answer

Holding and answering are apart, so that a version is loaded and warm before any request goes to it,
and one that was called back is there when it is wanted again. `tests/workers/test_placing.py`.
"""

import msgspec

from chimera.schemas.manifest import Digest, File


class Variant(msgspec.Struct, frozen=True):
    """A verified way to run a version, with what was measured of it; native code has a `.sig`."""

    name: str  # tier and precision as one (schemas/compile_report.py)
    folder: str  # with its files; of the version itself for tiers that are not compiled
    files: dict[str, File] = {}
    p99_us: dict[int, float] = {}  # by rows of a batch
    target: str = ""  # the key of the machine and library that its files are for; empty: any


class Placement(msgspec.Struct, frozen=True):
    model: str
    version: str
    digest: Digest  # of the version's manifest; it goes into every result
    folder: str  # <model>/<version>, with the manifest and its files
    variants: tuple[Variant, ...] = ()  # none: the source, as the device's own runtime takes it
    trusted: tuple[str, ...] | None = None  # public keys whose word is taken, as text
    #   None: for a folder that nobody signed, as trials have; native code is refused then

    @property
    def name(self) -> str:
        """How logs and the board call it."""
        return f"{self.model}/{self.version}"


Traffic = dict[str, dict[str, float]]
"""Model -> version -> weight, beside the other versions' weights (`workers/splits.py`)."""


class Shadow(msgspec.Struct, frozen=True):
    """Never visible: what it computes is compared with what was served, and thrown away."""

    version: str
    share: float = 1.0  # of the requests that the model's others answer


Shadows = dict[str, Shadow]
"""By model."""


class Orders(msgspec.Struct, frozen=True):
    """What a node's executors hold, who answers, who computes the same beside them, who is not asked."""

    placements: tuple[Placement, ...] = ()  # where room is short, the first first
    traffic: Traffic = {}
    shadows: Shadows = {}
    paused: tuple[str, ...] = ()
    spare: tuple[Placement, ...] = ()  # held too while there is room: ways back
