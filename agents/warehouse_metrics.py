"""What the warehouse counts, for Prometheus: how far its sinks are behind, and what they did.

`tests/integration/test_warehouse.py` scrapes it.
"""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300, 3600)


class WarehouseMetrics:
    """One set, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.lag_records = Gauge(
            "chimera_sink_lag_records",
            "Records on the broker that are not in the table",
            ["table", "partition"],
            registry=self.registry,
        )
        counter = partial(Counter, labelnames=["table"], registry=self.registry)
        self.rows = counter("chimera_sink_rows", "Rows inserted")
        self.unavailable = counter(
            "chimera_sink_unavailable", "Times that ClickHouse did not answer"
        )
        self.stopped = Gauge(
            "chimera_sink_stopped",
            "1 for a table that nothing is written to any more, until somebody mends it",
            ["table"],
            registry=self.registry,
        )
        self.visible_seconds = Histogram(
            "chimera_sink_visible_seconds",
            "From the broker's append to a row in the table, oldest of each INSERT",
            ["table"],
            registry=self.registry,
            buckets=_SECONDS,
        )
