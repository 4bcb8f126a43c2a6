"""What a node counts of its lanes, for Prometheus: what they hold, commit, and stop for.

`tests/integration/test_node_metrics.py` reads all of it from real nodes.
"""

from functools import partial

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge, Histogram

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class LaneMetrics:
    """On a node's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(prometheus_client.Counter, registry=registry)
        gauge = partial(Gauge, registry=registry, labelnames=("topic", "partition"))
        histogram = partial(Histogram, registry=registry, buckets=SECONDS)
        self.outcomes = counter("chimera_outcomes", "Requests decided and visible", ["code"])
        self.total_seconds = histogram(
            "chimera_total_seconds",
            "From the broker's append to the committed outcome, oldest of each transaction",
        )
        self.transaction_seconds = histogram("chimera_transaction_seconds", "One commit of a lane")
        self.transaction_stage_seconds = histogram(
            "chimera_transaction_stage_seconds", "Its stages: produce, offsets, end", ["stage"]
        )
        self.window_records = gauge("chimera_window_records", "Records read and not committed")
        self.deferred_records = gauge(
            "chimera_deferred_records",
            "Records that no executor may compute now: paused, or no tier of their model works",
        )
        self.lag_records = gauge(
            "chimera_consumer_lag_records", "Records on the broker that are not committed"
        )
        self.halted = gauge("chimera_lane_halted", "1 while a lane waits for a command to resume")
        self.fences = counter("chimera_fences", "Lanes whose producer was fenced")
        self.holes = counter("chimera_holes", "Runs that did not continue their lane")

    def forget(self, topic: str, partition: int) -> None:
        """Its lane is somebody else's: what it was here would stand beside what it is there."""
        for gauge in (self.window_records, self.deferred_records, self.lag_records, self.halted):
            gauge.remove(topic, partition)
