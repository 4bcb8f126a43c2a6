"""A node's metrics of circuit breakers: the executor's that has them, and no longer than it lives."""

from chimera.agents.following.tier_states import TierStates
from chimera.agents.metrics import Metrics
from chimera.schemas.model_events import BreakerState
from chimera.schemas.work import Started
from chimera.workers.reports import Report, TierTransition


def report(pid: int, *after: BreakerState, slot: str = "cpu:0:0") -> Report:
    changes = tuple(
        TierTransition("digits", "1", "onnx-cpu", "closed", one, "it failed", 1) for one in after
    )
    return Report(slot, (), changes, pid)


def state(metrics: Metrics, executor: str = "cpu:0:0") -> float | None:
    labels = {"model": "digits", "version": "1", "tier": "onnx-cpu", "executor": executor}
    return metrics.registry.get_sample_value("chimera_breaker_state", labels)


def test_state_is_the_last_one_and_each_executor_has_its_own() -> None:
    metrics = Metrics()
    states = TierStates(metrics.models)
    assert state(metrics) is None
    states.take_report(report(1, "open", "half_open"))
    states.take_report(report(2, "open", slot="cpu:0:1"))
    assert (state(metrics), state(metrics, "cpu:0:1")) == (1.0, 2.0)
    states.take_report(report(1, "closed"))
    assert (state(metrics), state(metrics, "cpu:0:1")) == (0.0, 2.0)


def test_transitions_are_counted_by_the_state_that_was_entered() -> None:
    metrics = Metrics()
    TierStates(metrics.models).take_report(report(1, "open", "half_open", "open"))
    labels = {"model": "digits", "version": "1", "tier": "onnx-cpu"}
    found = {
        name: metrics.registry.get_sample_value(
            "chimera_breaker_transitions_total", {**labels, "state": name}
        )
        for name in ("open", "half_open", "closed")
    }
    assert found == {"open": 2.0, "half_open": 1.0, "closed": None}


def test_state_goes_with_its_executor() -> None:
    metrics = Metrics()
    states = TierStates(metrics.models)
    states.take_report(report(1, "open"))
    states.keep([Started("cpu:0:0", 1, 5)])
    assert state(metrics) == 2.0
    states.keep([Started("cpu:0:0", 2, 5)])
    assert state(metrics) is None


def test_state_of_a_successor_outlives_the_one_before() -> None:
    metrics = Metrics()
    states = TierStates(metrics.models)
    states.take_report(report(1, "open"))
    states.take_report(report(2, "half_open"))
    states.keep([Started("cpu:0:0", 2, 5)])
    assert state(metrics) == 1.0
