"""What shadows came to, by model and version, until somebody takes it.

`tests/workers/test_shadows.py`.
"""

from chimera.workers.reports import ShadowSeen
from chimera.workers.shadowing.trial import Finding
from chimera.workers.watching.tallies import Tallies


class Counts:
    """Of one executor; disagreement is evidence for a watch too, which hears of it by `tallies`."""

    def __init__(self, tallies: Tallies) -> None:
        self._tallies = tallies
        self._open: dict[tuple[str, str], ShadowSeen] = {}

    def add(self, model: str, version: str, rows: int, found: Finding) -> None:
        """A shadow batch of so many rows."""
        seen = self._of(model, version)
        seen.compared += found.compared
        seen.disagreed += found.disagreed
        seen.errors += found.errors
        seen.rows += rows
        seen.compute_us += found.compute_us
        self._tallies.compared(model, version, found.compared, found.disagreed)

    def drop(self, model: str, version: str, count: int) -> None:
        """Requests that were to be computed, and are not."""
        self._of(model, version).dropped += count

    def take(self) -> tuple[ShadowSeen, ...]:
        """What was counted since the last time."""
        taken, self._open = self._open, {}
        return tuple(taken.values())

    def _of(self, model: str, version: str) -> ShadowSeen:
        seen = self._open.get((model, version))
        if seen is None:
            seen = self._open[model, version] = ShadowSeen(model, version)
        return seen
