"""What is counted of each version while it serves, until somebody takes it.

A call a batch, not a request: requests of one task entered together and are answered together, so
they share a latency. Latencies are put into their buckets when they are taken, or when many wait.
`tests/workers/watching/test_tallies.py`.
"""

from dataclasses import dataclass, field

from chimera.workers.watching.latencies import Latencies
from chimera.workers.watching.paces import Paces, size_of
from chimera.workers.watching.watch import Observation

WAITING = 4_096  # latencies of one version that are in no bucket yet, at most


@dataclass(slots=True)
class _Tally:
    """Of one version."""

    observation: Observation = field(default_factory=Observation)
    counts: list[int] = field(default_factory=list[int])
    latencies_us: list[int] = field(default_factory=list[int])
    batches_us: dict[int, list[int]] = field(default_factory=dict[int, list[int]])

    def fold(self) -> Observation:
        """All of it; what waited is in its buckets then."""
        if self.counts:
            latencies = Latencies.of(self.latencies_us, self.counts)
            self.observation += Observation(requests=sum(self.counts), latencies=latencies)
            self.counts, self.latencies_us = [], []
        if self.batches_us:
            paces = {size: Latencies.of(us) for size, us in self.batches_us.items()}
            self.observation += Observation(paces=Paces(paces))
            self.batches_us = {}
        return self.observation


class Tallies:
    """Of one process, by model and version."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], _Tally] = {}

    def computed(self, model: str, version: str, count: int, latency_us: int) -> None:
        """So many requests were computed; each was answered so long after it had entered."""
        tally = self._of(model, version)
        tally.counts.append(count)
        tally.latencies_us.append(latency_us)
        if len(tally.counts) >= WAITING:
            tally.fold()

    def worked(self, model: str, version: str, rows: int, took_us: int) -> None:
        """A batch of so many rows, 1 or more, was all an executor's work for so long."""
        self._of(model, version).batches_us.setdefault(size_of(rows), []).append(took_us)

    def failed(self, model: str, version: str, count: int = 1) -> None:
        """So many requests ended in an error that is not their callers' fault."""
        self.add(model, version, Observation(requests=count, errors=count))

    def compared(self, model: str, version: str, compared: int, disagreed: int) -> None:
        """A shadow, which `version` is, computed what another had answered."""
        self.add(model, version, Observation(compared=compared, disagreed=disagreed))

    def add(self, model: str, version: str, observation: Observation) -> None:
        """What somebody else has counted."""
        self._of(model, version).observation += observation

    def take(self) -> dict[tuple[str, str], Observation]:
        """What was counted since the last time."""
        taken, self._open = self._open, {}
        return {version: tally.fold() for version, tally in taken.items()}

    def _of(self, model: str, version: str) -> _Tally:
        tally = self._open.get((model, version))
        if tally is None:
            tally = self._open[model, version] = _Tally()
        return tally
