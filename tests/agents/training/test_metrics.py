"""What an agent counts: its runs while it attends to them, and the age of the oldest lease."""

from chimera.agents.training.metrics import TrainerMetrics


def test_heartbeat_is_as_old_as_the_lease_that_was_not_renewed_for_longest() -> None:
    now_s = 100.0
    metrics = TrainerMetrics(lambda: now_s)

    def told(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"chimera_training_{name}")

    assert (told("running_runs"), told("heartbeat_age_seconds")) == (0, 0)
    with metrics.attended(("a", 1)), metrics.attended(("a", 2)):
        now_s = 103.0
        metrics.renewed(("a", 1))
        now_s = 104.0
        assert (told("running_runs"), told("heartbeat_age_seconds")) == (2, 4)
    assert (told("running_runs"), told("heartbeat_age_seconds")) == (0, 0)


def test_each_outcome_is_there_before_it_happens() -> None:
    metrics = TrainerMetrics()
    metrics.ended("finished")
    found = {
        sample.labels["outcome"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "chimera_training_attempts_ended_total"
    }
    others = dict.fromkeys(("failed", "cancelled", "interrupted", "lost"), 0)
    assert found == {"finished": 1, **others}
