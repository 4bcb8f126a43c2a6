"""Shadows of one executor: what it has answered is computed once more when there is nothing else to do.

    a batch is answered ── picked, copied ── backlog ── no live work waits ── computed, compared, counted
                             └ no room: dropped, and counted as that

A request never waits for a shadow, but for the one batch of it that runs when the request arrives.
While a shadow computes the board says so and names no request, so that whatever it does to the
process is its own fault. `tests/workers/shadowing/test_mirroring.py`; with real processes
`test_shadows.py`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog

from chimera.schemas.errors import UnknownModel
from chimera.schemas.placements import Shadows
from chimera.workers.computation import Kept
from chimera.workers.dispatching.tiering import NotNow
from chimera.workers.repertoire import Repertoire, Served
from chimera.workers.shadowing.backlog import Backlog
from chimera.workers.shadowing.counts import Counts
from chimera.workers.shadowing.pace import Pace
from chimera.workers.shadowing.policy import Policy
from chimera.workers.shadowing.samples import picked, rows_of, sample, size_of
from chimera.workers.shadowing.trial import Trial
from chimera.workers.suspects import Board

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Mirror:
    """A version that answers is computed by another one too."""

    shadow: Served
    share: float
    pace: Pace


class Mirroring:
    """True while anything waits to be computed."""

    def __init__(self, board: Board, policy: Policy, counts: Counts) -> None:
        self._board, self._policy, self._counts = board, policy, counts
        self._shadows: Shadows = {}
        self._mirrors: Mapping[Served, Mirror] = {}
        self._backlog = Backlog(policy.backlog_rows, policy.backlog_bytes)

    def __bool__(self) -> bool:
        return bool(self._backlog)

    def __contains__(self, served: Served) -> bool:
        """Whether what this version answers is wanted."""
        return served in self._mirrors

    @property
    def batch_s(self) -> float:
        """What one shadow batch is to take at most."""
        return self._policy.batch_us / 1e6

    def follow(self, repertoire: Repertoire, shadows: Shadows | None = None) -> None:
        """From now on these (else those of before) shadow what the repertoire answers.

        One that is not loaded does not.
        """
        self._shadows = self._shadows if shadows is None else shadows
        self._mirrors = dict(self._found(repertoire))
        self._backlog.discard(lambda one: one.served not in self._mirrors)

    def offer(self, kept: Sequence[Kept], tier: str) -> None:
        """A batch that was answered, by this tier."""
        for one in kept:
            self._offer(one, tier, self._mirrors[one.tasks[0].route.served])

    def compute(self) -> None:
        """One batch of the shadow whose turn it is.

        Raises:
            DeviceLost: the executor has to end; the board shows that a shadow did it.
        """
        mirror = self._mirrors[self._backlog.first.served]
        given = self._backlog.take(mirror.pace.rows)
        manifest, started_ns = mirror.shadow.manifest, time.monotonic_ns()
        self._board.mark_shadowing(mirror.shadow.name)
        try:
            found = Trial(mirror.shadow, given).run()
        except NotNow:  # an outage of the shadow is in its errors already
            self._counts.drop(manifest.name, manifest.version, len(given))
        else:
            self._counts.add(manifest.name, manifest.version, given.rows, found)
            mirror.pace.note(given.rows, (time.monotonic_ns() - started_ns) // 1000)
        self._board.clear()

    def _found(self, repertoire: Repertoire) -> Iterator[tuple[Served, Mirror]]:
        for model, one in self._shadows.items():
            try:
                shadow = repertoire.find(model, one.version)
            except UnknownModel as error:
                log.warning("shadow_not_loaded", model=model, reason=str(error))
                continue
            for served in repertoire.answering(model):
                if served is not shadow:
                    yield served, Mirror(shadow, one.share, self._pace(served, shadow))

    def _pace(self, served: Served, shadow: Served) -> Pace:
        known = self._mirrors.get(served)
        if known is not None and known.shadow is shadow:
            return known.pace
        return Pace(self._policy.batch_us, max(1, shadow.policy.max_batch_size))

    def _offer(self, kept: Kept, tier: str, mirror: Mirror) -> None:
        places = picked(kept, mirror.share)
        if not len(places):
            return
        rows = rows_of(kept)
        row_bytes = size_of((*kept.inputs, *kept.outputs)) / max(1, int(rows.sum()))
        fitting = self._backlog.fitting(rows[places], max(1.0, row_bytes))
        if fitting:
            self._backlog.add(sample(kept, tier, places[:fitting]))
        if fitting < len(places):
            manifest = mirror.shadow.manifest
            self._counts.drop(manifest.name, manifest.version, len(places) - fitting)
