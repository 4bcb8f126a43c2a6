"""What a node saw its models' versions do, told on `models.observed`: evidence for whoever judges them.

    executors' reports ── computed, latencies ───────────┐
    final errors       ── whose they are ── held a while ┴─ once a second ── one record a version

Errors count where they are final: a request that is tried again counts once, as it ends. They are
held until executors have reported what they computed beside them: told at once, the first errors of
a version would be all that is known of it, and break any limit. Those of
`FAULTS` are the version's own; all others are the caller's, or of the platform before any version
was asked. A version that nothing answers for in time (`backend_unavailable`) counts as failing, and so
does one whose every tier is open, each time that a request is told to wait for it. Where no executor
lived to say which version failed, it is the one that the request was drawn for (`workers/splits.py`).
What cannot be told is dropped: this never holds up serving. `tests/agents/test_observing.py`.
"""

import asyncio
import itertools
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import structlog

from chimera.agents.following.publisher import Publisher
from chimera.agents.lanes.outcomes import Error
from chimera.schemas.errors import (
    BackendUnavailable,
    ModelFailed,
    OutOfMemory,
    TooLarge,
    WorkerCrashed,
)
from chimera.schemas.model_names import key
from chimera.schemas.model_observed import ModelObserved, encode_observed
from chimera.schemas.model_state import ModelState
from chimera.schemas.work import Deferred
from chimera.workers.reports import Report
from chimera.workers.splits import Split
from chimera.workers.watching.tallies import Tallies
from chimera.workers.watching.watch import Observation

log = structlog.get_logger(__name__)

EVERY_S = 1.0
HOLD_S = (
    2.0  # executors report once a second; less, and errors come before what they are a share of
)
FAULTS = frozenset(
    one.code for one in (ModelFailed, OutOfMemory, WorkerCrashed, BackendUnavailable)
)

Of = tuple[str, ModelState]
"""A version, and the state under which it did something."""


class States(Protocol):
    """What the node follows."""

    def state(self, model: str) -> ModelState | None: ...


class Observing:
    """Of one life of a node; `run` until cancelled."""

    def __init__(
        self, topic: str, client_arguments: Mapping[str, Any], states: States | None
    ) -> None:
        """Without states nothing is told: where nothing is followed nobody promotes, or judges."""
        self._publisher = Publisher(topic, client_arguments)
        self._states = states
        self._tallies = Tallies()
        self._held: deque[tuple[float, Of, Observation]] = deque()  # errors, and since when
        self._node = uuid.uuid4().hex
        self._sequence = itertools.count(1)
        self._drawn: tuple[ModelState, Split] | None = None  # the last: errors come in groups

    def take_report(self, report: Report) -> None:
        """Of an executor."""
        for one in report.versions:
            self._tallies.add(one.model, one.version, Observation.of(one.seen))

    def take_deferred(self, deferred: Deferred) -> None:
        """A version that takes no call fails them for now; whoever waits for a pause shows nothing."""
        if deferred.version:
            self._hold(deferred.model, deferred.version, len(deferred.offsets))

    def take_errors(self, errors: Iterable[Error]) -> None:
        """They are committed."""
        counts = Counter((error.model, self._blamed(error)) for error in errors)
        for (model, version), count in counts.items():
            if version:
                self._hold(model, version, count)

    def records(self, now_s: float) -> Iterator[ModelObserved]:
        """What was seen since the last time, of models whose state is followed; monotonic time.

        Errors bear the revision that they were made under, though they are told later.
        """
        found: dict[tuple[str, str, int], tuple[ModelState, Observation]] = {}
        for (version, state), observation in self._due(now_s):
            at = state.model, version, state.revision
            before = found[at][1] if at in found else Observation()
            found[at] = state, before + observation
        until_ms = time.time_ns() // 1_000_000
        for (model, version, revision), (state, observation) in found.items():
            yield ModelObserved(
                tenant=state.tenant,
                model=model,
                version=version,
                revision=revision,
                node=self._node,
                sequence=next(self._sequence),
                until_ms=until_ms,
                seen=observation.seen(),
            )

    def _hold(self, model: str, version: str, errors: int) -> None:
        state = self._state(model)
        if state is not None:
            told = Observation(requests=errors, errors=errors)
            self._held.append((time.monotonic(), (version, state), told))

    def _due(self, now_s: float) -> Iterator[tuple[Of, Observation]]:
        for (model, version), observation in self._tallies.take().items():
            state = self._state(model)
            if state is not None:
                yield (version, state), observation
        while self._held and self._held[0][0] <= now_s - HOLD_S:
            _, of, observation = self._held.popleft()
            yield of, observation

    async def run(self) -> None:
        """Publish once a second, if anything was seen."""
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                records = list(self.records(time.monotonic()))
                if records and not await self._publisher.publish([*map(_record, records)]):
                    log.warning("observations_dropped", records=len(records))
        finally:
            await self._publisher.stop()

    def _blamed(self, error: Error) -> str:
        """The version whose fault it is; none, if it is the caller's."""
        is_result_too_large = error.code == TooLarge.code and error.is_answer
        if error.code not in FAULTS and not is_result_too_large:
            return ""
        if error.version or error.is_answer:
            return error.version
        state = self._state(error.model)
        if state is None or not state.live:
            return ""
        if self._drawn is None or self._drawn[0] is not state:
            self._drawn = state, Split(state.weights)
        origin = error.case.origin
        return self._drawn[1].pick(origin.topic, origin.partition, origin.offset)

    def _state(self, model: str) -> ModelState | None:
        return None if self._states is None else self._states.state(model)


def _record(one: ModelObserved) -> tuple[bytes, bytes]:
    return key(one.tenant, one.model), encode_observed(one)
