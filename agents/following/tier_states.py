"""Circuit breakers of tiers, as executors report them: for a node's metrics, and `chimera watch`.

Each executor has breakers of its own, so that one broken device is seen as one: they are told apart by
their slots. A breaker that was never heard of is closed. What an executor's successor has is new, so
what was known of the one before is dropped with it. `tests/agents/test_tier_states.py`.
"""

from collections.abc import Collection

from chimera.agents.following.model_metrics import ModelMetrics
from chimera.schemas.model_events import BreakerState
from chimera.schemas.work import Started
from chimera.workers.reports import Report

VALUES: dict[BreakerState, int] = {"closed": 0, "half_open": 1, "open": 2}

Labels = tuple[str, str, str, str]  # model, version, tier, executor


class TierStates:
    """Of one node."""

    def __init__(self, metrics: ModelMetrics) -> None:
        self._metrics = metrics
        self._by_pid: dict[int, dict[Labels, BreakerState]] = {}

    def take_report(self, report: Report) -> None:
        for one in report.transitions:
            labels = (one.model, one.version, one.tier, report.slot)
            self._by_pid.setdefault(report.pid, {})[labels] = one.after
            self._metrics.breaker_transitions.labels(
                one.model, one.version, one.tier, one.after
            ).inc()
            self._metrics.breaker_state.labels(*labels).set(VALUES[one.after])

    def keep(self, executors: Collection[Started]) -> None:
        """Drop what is known of all others: they compute no more."""
        pids = {one.pid for one in executors}
        if pids.issuperset(self._by_pid):
            return
        gone = {
            labels for pid, found in self._by_pid.items() if pid not in pids for labels in found
        }
        self._by_pid = {pid: found for pid, found in self._by_pid.items() if pid in pids}
        left = {labels for found in self._by_pid.values() for labels in found}
        for labels in gone - left:
            self._metrics.breaker_state.remove(*labels)
