"""What a node's page says of shadows."""

from prometheus_client import CollectorRegistry, generate_latest

from chimera.agents.following.shadow_metrics import ShadowMetrics
from chimera.workers.reports import ShadowSeen

DIGITS = 'model="digits",version="2"'


def lines(registry: CollectorRegistry) -> list[str]:
    text = generate_latest(registry).decode()
    return [line for line in text.splitlines() if DIGITS in line and "_created" not in line]


def test_reports_add_up() -> None:
    registry = CollectorRegistry()
    metrics = ShadowMetrics(registry)
    for _ in range(2):
        metrics.take([ShadowSeen("digits", "2", 100, 7, 2, 30, 150, 500_000)])
    assert set(lines(registry)) == {
        f"chimera_shadow_compared_total{{{DIGITS}}} 200.0",
        f"chimera_shadow_disagreed_total{{{DIGITS}}} 14.0",
        f"chimera_shadow_errors_total{{{DIGITS}}} 4.0",
        f"chimera_shadow_dropped_total{{{DIGITS}}} 60.0",
        f"chimera_shadow_rows_total{{{DIGITS}}} 300.0",
        f"chimera_shadow_compute_seconds_total{{{DIGITS}}} 1.0",
    }


def test_a_shadow_is_off_until_it_is_not() -> None:
    registry = CollectorRegistry()
    metrics = ShadowMetrics(registry)
    metrics.show_off(["digits/2"])
    assert lines(registry) == [f"chimera_shadow_off{{{DIGITS}}} 1.0"]
    metrics.show_off([])
    assert not lines(registry)
