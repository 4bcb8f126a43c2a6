"""What a node uses and holds while it is under load: memory, and windows as its metrics tell."""

import urllib.request

import psutil
from prometheus_client.parser import text_string_to_metric_families

from chimera.cli.stack.ports import HOST
from tests.integration.chaos.background import Background
from tests.integration.chaos.nodes import Node

EVERY_S = 0.25


class Gauge(Background):
    """A context: looks at a node's process, and at its metrics, a few times a second."""

    def __init__(self, node: Node) -> None:
        super().__init__("gauge")
        self.memory_mib: list[float] = []
        self.windows: list[float] = []  # of the fullest lane
        self._process = psutil.Process(node.pid)
        port = next(event["port"] for event in node.events() if event.get("event") == "metrics")
        self._url = f"http://{HOST}:{port}/metrics"

    def growth(self) -> float:
        """The highest memory of the second half by that of the first."""
        half = len(self.memory_mib) // 2
        return max(self.memory_mib[half:]) / max(self.memory_mib[:half])

    def _run(self) -> None:
        for _ in self._every(EVERY_S):
            self.memory_mib.append(self._process.memory_info().rss / 2**20)
            with urllib.request.urlopen(self._url, timeout=10) as answer:
                families = text_string_to_metric_families(answer.read().decode())
            held = [
                sample.value
                for family in families
                for sample in family.samples
                if sample.name == "chimera_window_records"
            ]
            self.windows.append(max(held, default=0.0))
