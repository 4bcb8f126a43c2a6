"""What a node counts, for Prometheus. Names end in their unit; labels are few and bounded.

What it counts of requests stands here; of models, `model_metrics.py`, of shadows, `shadow_metrics.py`.
"""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from chimera.agents.following.model_metrics import ModelMetrics
from chimera.agents.following.shadow_metrics import ShadowMetrics

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """One set of metrics on a registry of its own, so that two nodes can live in one test."""

    def __init__(self) -> None:  # one table: a line or two for each metric
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry, buckets=_SECONDS)
        self.requests = counter("chimera_requests", "Requests that entered a window", ["topic"])
        self.outcomes = counter("chimera_outcomes", "Requests decided and visible", ["code"])
        self.batch_size = histogram(
            "chimera_batch_size",
            "Requests computed together",
            ["model", "version", "tier"],
            buckets=_SIZES,
        )
        self.compute_seconds = histogram(
            "chimera_compute_seconds",
            "One batch in its backend",
            ["model", "version", "tier"],
        )
        self.queue_seconds = histogram(
            "chimera_queue_seconds",
            "From a lane's window to the batch's start, oldest of each batch",
        )
        self.total_seconds = histogram(
            "chimera_total_seconds",
            "From the broker's append to the committed outcome, oldest of each transaction",
        )
        self.transaction_seconds = histogram(
            "chimera_transaction_seconds",
            "One commit of a lane",
        )
        self.transaction_stage_seconds = histogram(
            "chimera_transaction_stage_seconds",
            "Its stages: produce, offsets, end",
            ["stage"],
        )
        self.window_records = gauge(
            "chimera_window_records",
            "Records read and not committed",
            ["topic", "partition"],
        )
        self.deferred_records = gauge(
            "chimera_deferred_records",
            "Records that no executor may compute now: paused, or no tier of their model works",
            ["topic", "partition"],
        )
        self.lag_records = gauge(
            "chimera_consumer_lag_records",
            "Records on the broker that are not committed",
            ["topic", "partition"],
        )
        self.halted = gauge(
            "chimera_lane_halted",
            "1 while a lane waits for a command to resume",
            ["topic", "partition"],
        )
        self.fences = counter("chimera_fences", "Lanes whose producer was fenced")
        self.holes = counter("chimera_holes", "Runs that did not continue their lane")
        self.executor_restarts = counter(
            "chimera_executor_restarts", "Executors replaced", ["reason"]
        )
        self.models = ModelMetrics(self.registry)
        self.shadows = ShadowMetrics(self.registry)
