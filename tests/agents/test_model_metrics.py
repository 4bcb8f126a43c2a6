"""What a node counts of models: what is served and held now, and nothing of what was before."""

from prometheus_client import CollectorRegistry

from chimera.agents.following.model_metrics import ModelMetrics
from chimera.schemas.placements import Placement
from chimera.schemas.work import Loaded, Started


def executor(*models: Loaded) -> Started:
    return Started("cpu:0", 1, 1, models)


def loaded(version: str, size_bytes: int, refused: str = "") -> Loaded:
    return Loaded("digits", version, "d" * 64, "onnx-cpu", 1, refused, size_bytes)


def test_memory_is_that_of_all_executors_and_of_what_they_hold_now() -> None:
    registry = CollectorRegistry()
    metrics = ModelMetrics(registry)

    def held(version: str) -> float | None:
        labels = {"model": "digits", "version": version}
        return registry.get_sample_value("chimera_model_memory_bytes", labels)

    both = executor(loaded("1", 10), loaded("2", 5), loaded("3", 7, "no room"))
    metrics.hold([both, both], ())
    assert (held("1"), held("2"), held("3")) == (20, 10, None)
    metrics.hold([executor(loaded("2", 5))], [Placement("digits", "1", "d" * 64, "")])
    assert (held("1"), held("2")) == (None, 5)
    evicted = registry.get_sample_value("chimera_model_evictions_total", {"model": "digits"})
    assert evicted == 1


def test_revisions_are_those_that_are_served_now() -> None:
    registry = CollectorRegistry()
    metrics = ModelMetrics(registry)
    metrics.serve({"a": 1, "b": 7})
    metrics.serve({"b": 8})
    found = {
        model: registry.get_sample_value("chimera_model_revision", {"model": model})
        for model in ("a", "b")
    }
    assert found == {"a": None, "b": 8}
