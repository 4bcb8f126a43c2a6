"""What a node counts of its models beside their answers, for Prometheus: what is served, held, refused.

`tests/agents/test_model_metrics.py`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge

from chimera.schemas.placements import Placement
from chimera.schemas.work import Started


class ModelMetrics:
    """On a node's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(prometheus_client.Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        self.paused = gauge(
            "chimera_model_paused", "1 while a model's requests wait for a command", ["model"]
        )
        self.breaker_state = gauge(
            "chimera_breaker_state",
            "Circuit breaker of a tier: 0 closed, 1 half-open, 2 open; none: it never opened",
            ["model", "version", "tier", "executor"],
        )
        self.breaker_transitions = counter(
            "chimera_breaker_transitions",
            "What became of circuit breakers, by the state that they entered",
            ["model", "version", "tier", "state"],
        )
        self.refused = counter(
            "chimera_versions_refused",
            "Times that executors did not load a version",
            ["model", "version"],
        )
        self.budget_bytes = gauge(
            "chimera_model_memory_budget_bytes", "What versions may take of one device; 0: no limit"
        )
        self._revision = gauge(
            "chimera_model_revision", "Of a model's state, the one that is served", ["model"]
        )
        self._memory_bytes = gauge(
            "chimera_model_memory_bytes",
            "What a version takes of memory, in all executors together",
            ["model", "version"],
        )
        self._evictions = counter(
            "chimera_model_evictions", "Versions that made room for others", ["model"]
        )

    def serve(self, revisions: Mapping[str, int]) -> None:
        """The revisions of all models' states that are served now."""
        self._revision.clear()
        for model, revision in revisions.items():
            self._revision.labels(model).set(revision)

    def hold(self, executors: Iterable[Started], evicted: Iterable[Placement]) -> None:
        """What executors hold now, and what has gone from them since the last time."""
        taken = Counter[tuple[str, str]]()
        for executor in executors:
            for one in executor.models:
                if not one.refused:
                    taken[one.model, one.version] += one.size_bytes
        self._memory_bytes.clear()
        for labels, size_bytes in taken.items():
            self._memory_bytes.labels(*labels).set(size_bytes)
        for placement in evicted:
            self._evictions.labels(placement.model).inc()
