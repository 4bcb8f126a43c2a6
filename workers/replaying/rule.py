"""Whether a candidate's answer to one request says what was served.

By the rule for all versions (`workers/verification/agreement.py`), whose labels and tolerance stand in their
manifests. A request may have asked for some outputs alone: those are compared. Where the version that
served is not known any more, it counts as one like the candidate. `tests/workers/replaying/test_rule.py`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.schemas.outcomes import Outcome, outputs
from chimera.schemas.responses import Output
from chimera.workers.verification.agreement import Answered, agreeing


class Rule:
    """Of one candidate."""

    def __init__(self, candidate: Manifest, served: Mapping[str, Manifest] | None = None) -> None:
        """`served`: manifests by their versions' digests."""
        self._candidate = candidate
        self._served = served or {}

    def difference(self, served: Outcome, found: Outcome) -> str:
        """In what two responses differ; empty: they agree.

        Raises:
            RequestError: one of them cannot be read.
        """
        wanted, given = outputs(served.value, served.head), outputs(found.value, found.head)
        if not wanted:
            return ""
        manifest = self._served.get(served.digest, self._candidate)
        others = _answered(self._candidate, found.tier, given)
        claims = agreeing(_answered(manifest, served.tier, wanted), others)
        if claims.all():
            return ""
        differing = [
            repr(one.name)
            for one in wanted
            if not agreeing(_answered(manifest, served.tier, [one]), others).all()
        ]
        where = f" in {np.count_nonzero(~claims)} of {len(claims)} rows" if len(claims) > 1 else ""
        return f"{', '.join(differing)} differs{where}"


def _answered(manifest: Manifest, tier: str, found: Sequence[Output]) -> Answered:
    """As if those had been asked for that are there."""
    specs = {spec.name: spec for spec in manifest.outputs}
    named = tuple(
        specs.get(one.name) or TensorSpec(one.name, one.datatype, one.array.shape) for one in found
    )
    arrays = [one.array if manifest.batches else one.array[None] for one in found]
    return Answered(replace(manifest, outputs=named), tier, [*map(np.atleast_1d, arrays)])
