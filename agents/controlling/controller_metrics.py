"""What a controller shows of its judgements, for Prometheus. `tests/agents/controlling/test_judging.py`."""

from prometheus_client import CollectorRegistry, Gauge


class ControllerMetrics:
    """On a node's registry; only the controller that leads says anything."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.held = Gauge(
            "chimera_model_rollback_refused",
            "1 while a version that breached its watch cannot be rolled back, and serves on",
            ["tenant", "model"],
            registry=registry,
        )
