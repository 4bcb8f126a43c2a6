"""What was seen of one watch: its version's observations, and those that it is compared with. Pure.

    its version       from the watched revision on
    what it replaced  before that: as long as the watch's window, and at least a minute
    what it shares    from the watched revision on, if it still answers the rest

What the shadow of a watch compared counts for the version that it shadowed. A record counts once,
however often it is read: a node's are numbered, and come in their order.
`tests/agents/controlling/test_evidence.py`.
"""

from datetime import timedelta

from chimera.schemas.deployments import Watch
from chimera.schemas.model_observed import ModelObserved
from chimera.workers.watching.watch import Observation

LEAST_BEFORE_S = 60


class Evidence:
    """Of one watch over a model of a tenant."""

    def __init__(self, tenant: str, model: str, watch: Watch) -> None:
        self.tenant, self.model, self.watch = tenant, model, watch
        self.candidate, self.previous = Observation(), Observation()
        before = timedelta(seconds=max(watch.policy.window_s, LEAST_BEFORE_S))
        self.from_ms = int((watch.since - before).timestamp() * 1000)
        self._read: dict[str, int] = {}  # node -> the last of its records

    @property
    def is_same_load(self) -> bool:
        """What it is compared with was seen at the same time."""
        return self.watch.weight < 100

    def take(self, observed: ModelObserved, at_ms: int) -> None:
        """Any record of `models.observed`, appended then."""
        if (observed.tenant, observed.model) != (self.tenant, self.model):
            return
        if observed.sequence <= self._read.get(observed.node, 0) or at_ms < self.from_ms:
            return
        self._read[observed.node] = observed.sequence
        watch, seen = self.watch, Observation.of(observed.seen)
        is_since = observed.revision >= watch.sequence
        if observed.version == watch.placed.version and is_since:
            self.candidate += seen
        elif observed.version == watch.previous.version:
            if is_since == self.is_same_load:
                self.previous += seen
            if is_since:
                self.candidate += Observation(compared=seen.compared, disagreed=seen.disagreed)
