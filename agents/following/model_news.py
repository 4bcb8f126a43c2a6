"""What a node says of its models beside their answers: evidence, events, metrics.

    reports of executors ──┬─ Observing    models.observed: what versions did
    refusals, waits        ├─ Announcing   models.events: what happened
                           └─ TierStates   Prometheus, `chimera watch`

None of it holds up serving. Each part has its own tests.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from chimera.agents.following.announcing import Announcing
from chimera.agents.following.model_metrics import ModelMetrics
from chimera.agents.following.observing import Observing, States
from chimera.agents.following.tier_states import TierStates
from chimera.agents.lanes.outcomes import Error
from chimera.schemas.model_state import ModelState
from chimera.schemas.work import Deferred, Loaded, Started
from chimera.topics.catalogue import Catalogue
from chimera.workers.reports import Report


class ModelNews:
    """Of one node; `run` until cancelled."""

    def __init__(
        self,
        topics: Catalogue,
        client_arguments: Mapping[str, Any],
        metrics: ModelMetrics,
        states: States | None,
    ) -> None:
        self._observing = Observing(topics.model_observed.name, client_arguments, states)
        self._announcing = Announcing(topics.model_events.name, client_arguments)
        self._tier_states = TierStates(metrics)
        self._metrics = metrics
        self._paused: set[str] = set()  # that were at any time

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._observing.run())
            group.create_task(self._announcing.run())

    def take_report(self, report: Report) -> None:
        for one in (self._observing, self._announcing, self._tier_states):
            one.take_report(report)

    def take_deferred(self, deferred: Deferred) -> None:
        self._observing.take_deferred(deferred)

    def take_errors(self, errors: Iterable[Error]) -> None:
        self._observing.take_errors(errors)

    def take_refusal(self, state: ModelState, one: Loaded, tries: int) -> None:
        """Executors did not load a version that the state wants."""
        self._metrics.refused.labels(one.model, one.version).inc()
        self._announcing.refused(state, one, tries)

    def measure(self, executors: Collection[Started], paused: Collection[str]) -> None:
        """Gauges that nothing else sets; called about once a second."""
        self._tier_states.keep(executors)
        self._paused.update(paused)
        for model in self._paused:
            self._metrics.paused.labels(model).set(model in paused)
