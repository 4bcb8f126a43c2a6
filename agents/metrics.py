"""What a node counts, for Prometheus. Names end in their unit; labels are few and bounded.

Of requests and executors it stands here; of lanes, `lanes/lane_metrics.py`; of models and shadows,
`following/model_metrics.py` and `shadow_metrics.py`. `tests/integration/test_node_metrics.py` reads it.
"""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Histogram

from chimera.agents.following.model_metrics import ModelMetrics
from chimera.agents.following.shadow_metrics import ShadowMetrics
from chimera.agents.lanes.lane_metrics import SECONDS, LaneMetrics

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_BATCH = ["model", "version", "tier"]


class Metrics:
    """One set of metrics on a registry of its own, so that two nodes can live in one test."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        self.requests = counter("chimera_requests", "Requests that entered a window", ["topic"])
        self.batch_size = histogram(
            "chimera_batch_size", "Requests computed together", _BATCH, buckets=_SIZES
        )
        self.compute_seconds = histogram(
            "chimera_compute_seconds", "One batch in its backend", _BATCH, buckets=SECONDS
        )
        self.queue_seconds = histogram(
            "chimera_queue_seconds",
            "From a lane's window to the batch's start, oldest of each batch",
            buckets=SECONDS,
        )
        self.executor_restarts = counter(
            "chimera_executor_restarts", "Executors replaced", ["reason"]
        )
        self.lanes = LaneMetrics(self.registry)
        self.models = ModelMetrics(self.registry)
        self.shadows = ShadowMetrics(self.registry)
