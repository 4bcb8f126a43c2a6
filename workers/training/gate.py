"""Whether a run may go further: its metric, its drift, and whether it is worse than another one.

Worse than another is only what lies outside of both intervals: what is within may be chance. Pure;
`tests/workers/training/test_gate.py`.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from chimera.schemas.training_manifest import TrainingManifest
from chimera.workers.training.history import build_leaderboard

NAMED_COLUMNS = 8


class Policy(NamedTuple):
    metric: str = "eval_mse"
    direction: Literal["min", "max"] = "min"
    least: float | None = None  # what the metric has to reach
    than: TrainingManifest | None = None  # must not be worse than this one
    refuses_drift: bool = False
    refuses_synthetic: bool = False


def refusals(candidate: TrainingManifest, policy: Policy) -> tuple[str, ...]:
    """Every reason not to take it; none: it is taken."""
    return tuple(
        reason
        for reason in (
            _metric(candidate, policy),
            _worse(candidate, policy),
            _drift(candidate) if policy.refuses_drift else "",
            "its data are synthetic" if policy.refuses_synthetic and candidate.is_synthetic else "",
        )
        if reason
    )


def pick(candidates: Iterable[TrainingManifest], policy: Policy) -> TrainingManifest | None:
    """The best one that nothing is held against."""
    found = {one.run_id: one for one in candidates}
    places = build_leaderboard(found.values(), policy.metric, policy.direction)
    ranked = (found[place.run_id] for place in places)
    return next((one for one in ranked if not refusals(one, policy)), None)


def _metric(candidate: TrainingManifest, policy: Policy) -> str:
    value = candidate.metrics.get(policy.metric)
    if value is None:
        return f"it has no {policy.metric}"
    if policy.least is None or _sign(policy) * (value - policy.least) <= 0:
        return ""
    return f"{policy.metric} {value:g} does not reach {policy.least:g}"


def _worse(candidate: TrainingManifest, policy: Policy) -> str:
    if policy.than is None or candidate.metrics.get(policy.metric) is None:
        return ""
    if policy.than.name != candidate.name:
        return f"{policy.than.run_id} is a run of {policy.than.name}, not of {candidate.name}"
    pair = (policy.than, candidate)
    places = build_leaderboard(pair, policy.metric, policy.direction)
    if len(places) < len(pair):
        return f"{policy.than.run_id} has no {policy.metric} to be compared with"
    if places[0].run_id == candidate.run_id or places[1].is_tied:
        return ""
    other = ", of other data" if places[1].is_other_data else ""
    return (
        f"{policy.metric} {places[1].value:g} is worse than {places[0].value:g} of"
        f" {policy.than.run_id}{other}"
    )


def _drift(candidate: TrainingManifest) -> str:
    columns = [one.column for one in candidate.drift_from_previous if one.is_drift]
    return f"its data have drifted in {', '.join(columns[:NAMED_COLUMNS])}" if columns else ""


def _sign(policy: Policy) -> int:
    return 1 if policy.direction == "min" else -1
