"""What a node counts, for Prometheus. Names end in their unit; labels are few and bounded."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """One set of metrics on a registry of its own, so that two nodes can live in one test."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "chimera_requests", "Requests that entered a window", ["topic"], registry=self.registry
        )
        self.outcomes = Counter(
            "chimera_outcomes", "Requests decided and visible", ["code"], registry=self.registry
        )
        self.batch_size = Histogram(
            "chimera_batch_size",
            "Requests computed together",
            ["model", "version", "tier"],
            buckets=_SIZES,
            registry=self.registry,
        )
        self.compute_seconds = Histogram(
            "chimera_compute_seconds",
            "One batch in its backend",
            ["model", "version", "tier"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.queue_seconds = Histogram(
            "chimera_queue_seconds",
            "From a lane's window to the batch's start, oldest of each batch",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.total_seconds = Histogram(
            "chimera_total_seconds",
            "From the broker's append to the committed outcome, oldest of each transaction",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.transaction_seconds = Histogram(
            "chimera_transaction_seconds",
            "One commit of a lane",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.transaction_stage_seconds = Histogram(
            "chimera_transaction_stage_seconds",
            "Its stages: produce, offsets, end",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.window_records = Gauge(
            "chimera_window_records",
            "Records read and not committed",
            ["topic", "partition"],
            registry=self.registry,
        )
        self.lag_records = Gauge(
            "chimera_consumer_lag_records",
            "Records on the broker that are not committed",
            ["topic", "partition"],
            registry=self.registry,
        )
        self.halted = Gauge(
            "chimera_lane_halted",
            "1 while a lane waits for a command to resume",
            ["topic", "partition"],
            registry=self.registry,
        )
        self.fences = Counter(
            "chimera_fences", "Lanes whose producer was fenced", registry=self.registry
        )
        self.holes = Counter(
            "chimera_holes", "Runs that did not continue their lane", registry=self.registry
        )
        self.executor_restarts = Counter(
            "chimera_executor_restarts", "Executors replaced", ["reason"], registry=self.registry
        )
