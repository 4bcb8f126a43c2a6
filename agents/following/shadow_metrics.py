"""What a node counts of versions that shadow others, for Prometheus. `tests/agents/test_shadow_metrics.py`.

Numbers are of requests, but for `rows`: with `compute_seconds` they tell what a row costs, as those of
batches do for versions that answer.
"""

from collections.abc import Iterable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge

from chimera.workers.reports import ShadowSeen

_LABELS = ("model", "version")


class ShadowMetrics:
    """On a node's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, labelnames=_LABELS, registry=registry)
        self._compared = counter(
            "chimera_shadow_compared", "Answered requests that a shadow computed too"
        )
        self._disagreed = counter(
            "chimera_shadow_disagreed", "Those that it answered otherwise, errors among them"
        )
        self._errors = counter("chimera_shadow_errors", "Those that it answered with an error")
        self._dropped = counter(
            "chimera_shadow_dropped", "Requests left out: no time, no room, or no tier for them"
        )
        self._rows = counter("chimera_shadow_rows", "Rows that shadows computed")
        self._compute_seconds = counter(
            "chimera_shadow_compute_seconds", "Spent for them in backends"
        )
        self._off = Gauge(
            "chimera_shadow_off",
            "1 for a shadow that ended executors, and computes nothing any more",
            _LABELS,
            registry=registry,
        )

    def take(self, shadows: Iterable[ShadowSeen]) -> None:
        """Of an executor, since its last report."""
        for one in shadows:
            labels = one.model, one.version
            self._compared.labels(*labels).inc(one.compared)
            self._disagreed.labels(*labels).inc(one.disagreed)
            self._errors.labels(*labels).inc(one.errors)
            self._dropped.labels(*labels).inc(one.dropped)
            self._rows.labels(*labels).inc(one.rows)
            self._compute_seconds.labels(*labels).inc(one.compute_us / 1e6)

    def show_off(self, names: Iterable[str]) -> None:
        """Shadows that were dropped, as `<model>/<version>`: these, and no others."""
        self._off.clear()
        for name in names:
            model, _, version = name.partition("/")
            self._off.labels(model, version).set(1)
