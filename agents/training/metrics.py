"""What a training agent counts, for Prometheus: the queue, its runs, how they ended, how old its leases are.

A run that was taken up by another agent has ended here as `lost`. `tests/agents/training/test_metrics.py`;
`tests/cli/test_train_agent.py` scrapes an agent.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

Lease = tuple[str, int]  # a run, and which attempt at it
Outcome = Literal["finished", "failed", "cancelled", "interrupted", "lost"]


class TrainerMetrics:
    """One set, on a registry of its own; `now_s` is monotonic."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._renewed_s: dict[Lease, float] = {}
        self.registry = CollectorRegistry()
        gauge = partial(Gauge, registry=self.registry)
        self.queued = gauge("chimera_training_queued_runs", "Runs of all tenants that wait")
        running = gauge("chimera_training_running_runs", "Runs that this agent attends to")
        running.set_function(lambda: len(self._renewed_s))
        self.leads = gauge("chimera_training_leads", "1 while this agent takes the triggers")
        age = gauge(
            "chimera_training_heartbeat_age_seconds",
            "Since a lease of this agent was renewed, the oldest of them; 0: it holds none",
        )
        age.set_function(self._age_s)
        self._ended = Counter(
            "chimera_training_attempts_ended",
            "Attempts at runs that ended here",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in get_args(Outcome):
            self._ended.labels(outcome)  # each is there before it happens, so rates begin at 0

    @contextmanager
    def attended(self, lease: Lease) -> Generator[None]:
        """A lease was taken, and is held until the block is left."""
        self.renewed(lease)
        try:
            yield
        finally:
            del self._renewed_s[lease]

    def renewed(self, lease: Lease) -> None:
        self._renewed_s[lease] = self._now_s()

    def ended(self, outcome: Outcome) -> None:
        self._ended.labels(outcome).inc()

    def _age_s(self) -> float:
        """Asked from the thread that is scraped."""
        oldest_s = min(list(self._renewed_s.values()), default=None)
        return 0.0 if oldest_s is None else self._now_s() - oldest_s
