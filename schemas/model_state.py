"""`models.state` (compacted): which versions of a model serve now; what nodes follow.

One record holds all that a node needs to serve the model: versions with their weights and digests,
and for each its tiers, the digest of each one's artifact, and what it was measured to take. A tier
stands once for each kind of machine that it was made for; a node takes what was made for its own.
Revisions of a model only grow: a node takes what `supersedes` what it has, so a record that comes
twice or late changes nothing. No value: the model is gone. `tests/schemas/test_model_state.py`.
"""

from typing import Annotated

import msgspec

from chimera.schemas.manifest import Rows
from chimera.schemas.model_names import Milliseconds, Name, Sha256, Share, Weight
from chimera.schemas.versioned import Form

STATE_VERSION = 1
MAX_VERSIONS = 64  # of one model, live at once

Target = Annotated[str, msgspec.Meta(max_length=64)]
Microseconds = Annotated[float, msgspec.Meta(gt=0)]
Revision = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class TierArtifact(msgspec.Struct, frozen=True):
    """A verified tier of a version, and the files that it runs."""

    tier: Name
    sha256: Sha256  # of the artifact; of the source for tiers that are not compiled
    p99_us: dict[Rows, Microseconds] = {}  # by rows of a batch; none: it was not measured
    beside: dict[Name, Sha256] = {}  # other files that it needs, by name: a plan, a signature
    target: Target = ""  # the key of the machine and library that they are for; empty: any


Tiers = Annotated[tuple[TierArtifact, ...], msgspec.Meta(min_length=1, max_length=64)]


class LiveVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that answers requests."""

    version: Name
    sha256: Sha256  # the digest that its results name
    weight: Weight
    tiers: Tiers


class ShadowVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that computes what others answer, to be compared."""

    version: Name
    sha256: Sha256
    share: Share  # of the requests
    tiers: Tiers


Versions = Annotated[tuple[LiveVersion, ...], msgspec.Meta(max_length=MAX_VERSIONS)]


class ModelState(msgspec.Struct, frozen=True, kw_only=True):
    """Of one model of one tenant."""

    tenant: Name
    model: Name
    revision: Revision
    changed_ms: Milliseconds
    command_id: Name  # that led to it
    live: Versions = ()  # none: it is known, and serves nothing
    before: Versions = ()  # what a rollback makes live again
    shadow: ShadowVersion | None = None
    paused: bool = False
    v: int = STATE_VERSION

    def __post_init__(self) -> None:
        for versions in (self.live, self.before):
            names = [one.version for one in versions]
            if len(set(names)) < len(names):
                raise ValueError(f"a version stands twice in {names}")
        for one in (*self.live, *self.before, *((self.shadow,) if self.shadow else ())):
            tiers = [(artifact.tier, artifact.target) for artifact in one.tiers]
            if len(set(tiers)) < len(tiers):
                raise ValueError(f"version {one.version}: a tier stands twice in {tiers}")
        if self.shadow and self.shadow.version in self.weights:
            raise ValueError(f"version {self.shadow.version} is live and shadows itself")

    @property
    def weights(self) -> dict[str, float]:
        """By version, for `workers.splits.Split`."""
        return {one.version: one.weight for one in self.live}

    def supersedes(self, known: "ModelState | None") -> bool:
        """Whether a node that follows `known` should follow this one instead."""
        return known is None or self.revision > known.revision


_FORM = Form[ModelState]("model state", ModelState, STATE_VERSION)
encode_state = _FORM.encode
decode_state = _FORM.decode
