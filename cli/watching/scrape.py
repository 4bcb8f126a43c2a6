"""A node's Prometheus page, or the warehouse's, read: what the brokers cannot tell of them.

`tests/cli/test_watch.py` reads the page of a real node, `tests/integration/test_warehouse.py` a warehouse's.
"""

import urllib.request
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from chimera.cli.stack import state as stack_state
from chimera.schemas.server_settings import ObservabilitySettings
from chimera.schemas.settings import Settings

TIMEOUT_S = 2.0

SHADOW = "chimera_shadow_"

Lane = tuple[str, int]  # topic, partition
Breaker = tuple[str, str, str, str]  # model, version, tier, executor
Version = tuple[str, str]  # model, version


@dataclass(slots=True)
class Page:
    """Counters are since the node's start; several nodes' pages add up."""

    windows: Counter[Lane] = field(default_factory=Counter[Lane])
    halted: set[Lane] = field(default_factory=set[Lane])
    revisions: dict[str, int] = field(default_factory=dict[str, int])  # served, by model; the least
    outcomes: Counter[str] = field(default_factory=Counter[str])  # by code
    batches: float = 0
    batched: float = 0  # rows in them
    compute_s: float = 0
    transactions: float = 0
    transactions_s: float = 0
    restarts: Counter[str] = field(default_factory=Counter[str])  # of executors, by reason
    fences: float = 0
    deferred: Counter[Lane] = field(default_factory=Counter[Lane])
    paused: set[str] = field(default_factory=set[str])  # models
    breakers: dict[Breaker, str] = field(default_factory=dict["Breaker", str])  # not closed ones
    refused: Counter[str] = field(default_factory=Counter[str])  # by <model>/<version>
    shadows: dict[Version, Counter[str]] = field(  # compared, disagreed, errors, dropped, off
        default_factory=dict[Version, Counter[str]]
    )
    stopped: set[str] = field(default_factory=set[str])  # tables of the warehouse
    is_a_nodes: bool = False  # whether any of it is Chimera's

    def read(self, text: str) -> None:
        """Add one node's page."""
        for family in text_string_to_metric_families(text):
            self.is_a_nodes |= family.name.startswith("chimera_")
            for sample in family.samples:
                self._take(sample.name, sample.labels, sample.value)

    # One branch a metric, in the order of agents/metrics.py.
    def _take(self, name: str, labels: dict[str, str], value: float) -> None:
        if name == "chimera_window_records":
            self.windows[_lane(labels)] += int(value)
        elif name == "chimera_lane_halted" and value:
            self.halted.add(_lane(labels))
        elif name == "chimera_model_revision":
            model = labels["model"]
            self.revisions[model] = min(int(value), self.revisions.get(model, int(value)))
        elif name == "chimera_outcomes_total":
            self.outcomes[labels["code"]] += int(value)
        elif name == "chimera_batch_size_count":
            self.batches += value
        elif name == "chimera_batch_size_sum":
            self.batched += value
        elif name == "chimera_compute_seconds_sum":
            self.compute_s += value
        elif name == "chimera_transaction_seconds_count":
            self.transactions += value
        elif name == "chimera_transaction_seconds_sum":
            self.transactions_s += value
        elif name == "chimera_executor_restarts_total":
            self.restarts[labels["reason"]] += int(value)
        elif name == "chimera_fences_total":
            self.fences += value
        elif name.startswith(SHADOW) and not name.endswith("_created"):
            what = name.removeprefix(SHADOW).removesuffix("_total")
            version = labels["model"], labels["version"]
            self.shadows.setdefault(version, Counter())[what] += int(value)
        else:
            self._take_of_models(name, labels, value)

    def _take_of_models(self, name: str, labels: dict[str, str], value: float) -> None:
        if name == "chimera_deferred_records":
            self.deferred[_lane(labels)] += int(value)
        elif name == "chimera_model_paused" and value:
            self.paused.add(labels["model"])
        elif name == "chimera_breaker_state" and value:
            which = (labels["model"], labels["version"], labels["tier"], labels["executor"])
            self.breakers[which] = "half-open" if value == 1 else "open"
        elif name == "chimera_versions_refused_total":
            self.refused[f"{labels['model']}/{labels['version']}"] += int(value)
        elif name == "chimera_sink_stopped" and value:
            self.stopped.add(labels["table"])


def pages(urls: Iterable[str]) -> tuple[Page, dict[str, str]]:
    """All of them in one, and why some cannot be read, by URL; blocks up to `TIMEOUT_S` each."""
    page = Page()
    failures: dict[str, str] = {}
    for url in urls:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
                page.read(response.read().decode())
        except (OSError, ValueError) as error:
            failures[url] = str(getattr(error, "reason", error))
    return page, failures


def of_stack(settings: Settings) -> list[str]:
    """The pages of the nodes of the stack that runs here; without one, that of the settings."""
    running = stack_state.read(settings.stack.dir)
    pages = [node.metrics for node in running.nodes if node.metrics] if running else []
    return pages or known(settings.observability)


def known(observability: ObservabilitySettings) -> list[str]:
    """The page that a node of these settings has; none where it chooses the port, or has none."""
    if not observability.metrics_port:
        return []
    return [f"http://{observability.metrics_host}:{observability.metrics_port}/metrics"]


def is_a_nodes(observability: ObservabilitySettings) -> bool:
    """Whether what answers at that port is a node."""
    page, failures = pages(known(observability))
    return not failures and page.is_a_nodes


def _lane(labels: dict[str, str]) -> Lane:
    return labels["topic"], int(labels["partition"])
