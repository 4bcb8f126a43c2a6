"""What a controller shows of its judgements and its outbox, for Prometheus.

`test_judging.py` and `test_controller.py` in `tests/agents/controlling`.
"""

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
        self.unread = Gauge(
            "chimera_outbox_rows_unread",
            "Rows of the outbox that this release cannot read; they wait for one that can",
            registry=registry,
        )
