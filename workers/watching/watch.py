"""The watch over a promoted version: go on waiting, passed, or breached, and why. Pure.

Rates are compared with their limits by what surely lies behind them (`proportions.py`): a breach is
told as soon as one is surely above its limit, and a pass once the window is over, enough was
answered, and all are surely within theirs. In between the watch goes on: few requests decide
nothing, and a watch ends by evidence alone. A breach wants the more certainty, as it is asked for
again and again and each look may err.

Callers that wait longer than those before them are a breach if the version is slower, or if that could not be
told by the end of the window; where batches of a size surely take no longer, it is load (`paces.py`).

Outcomes that are the callers' own fault belong in neither count. Requests of one batch fail
together, so a tier that failed once can look worse than it is; counting final outcomes, after
retries, keeps that small. `tests/workers/watching/test_watch.py` has the laws, and replays of chance.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from chimera.schemas.model_commands import WatchPolicy
from chimera.schemas.model_events import Observed
from chimera.schemas.model_observed import Seen
from chimera.workers.watching.latencies import NONE, Latencies
from chimera.workers.watching.paces import Paces
from chimera.workers.watching.proportions import surely_above, surely_below

Z_BREACH = 3.29
Z_PASS = 1.645
NO_PACES = Paces()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one version did, on one node or all, in a while; observations add up."""

    requests: int = 0
    errors: int = 0
    latencies: Latencies = NONE  # as callers wait
    paces: Paces = NO_PACES  # as executors work
    compared: int = 0  # with the version that it shadowed
    disagreed: int = 0

    def __add__(self, other: "Observation") -> "Observation":
        return Observation(
            requests=self.requests + other.requests,
            errors=self.errors + other.errors,
            latencies=self.latencies + other.latencies,
            paces=self.paces + other.paces,
            compared=self.compared + other.compared,
            disagreed=self.disagreed + other.disagreed,
        )

    @classmethod
    def of(cls, seen: Seen) -> "Observation":
        """As another process has counted it."""
        return cls(
            requests=seen.requests,
            errors=seen.errors,
            latencies=Latencies.in_buckets(seen.latencies),
            paces=Paces.in_buckets(seen.paces or {}),
            compared=seen.compared,
            disagreed=seen.disagreed,
        )

    def seen(self) -> Seen:
        """For another process."""
        return Seen(
            requests=self.requests,
            errors=self.errors,
            latencies=self.latencies.buckets,
            paces=self.paces.buckets or msgspec.UNSET,
            compared=self.compared,
            disagreed=self.disagreed,
        )

    def observed(self) -> Observed:
        """For `models.events`."""
        return Observed(
            requests=self.requests,
            errors=self.errors,
            p99_us=round(self.latencies.quantile_us(0.99)),
            compared=self.compared,
            disagreed=self.disagreed,
        )


def total(series: Iterable[Observation]) -> Observation:
    """All of a series together."""
    return sum(series, Observation())


class Ruling(StrEnum):
    WAIT = "wait"
    PASS = "passed"
    BREACH = "breached"


@dataclass(frozen=True, slots=True)
class Verdict:
    ruling: Ruling
    reason: str


def judge(
    policy: WatchPolicy,
    elapsed_s: float,
    candidate: Observation,
    previous: Observation | None,
    *,
    is_same_load: bool = False,
) -> Verdict:
    """The verdict after so many seconds.

    Args:
        previous: None where nothing was live before.
        is_same_load: that was seen at the same time, or of the same requests.
    """
    findings = [
        _rate("error rate", candidate.errors, candidate.requests, policy.max_error_rate),
        _latency(policy, elapsed_s, candidate, previous, is_same_load=is_same_load),
    ]
    if policy.max_disagreement is not None and previous is not None:
        name, limit = "disagreement", policy.max_disagreement
        findings.append(_rate(name, candidate.disagreed, candidate.compared, limit))
    breaches = [one.reason for one in findings if one.ruling is Ruling.BREACH]
    if breaches:
        return Verdict(Ruling.BREACH, "; ".join(breaches))
    if elapsed_s < policy.window_s:
        return Verdict(Ruling.WAIT, f"{elapsed_s:.0f} of {policy.window_s} s are over")
    if candidate.requests < policy.min_requests:
        return Verdict(
            Ruling.WAIT, f"{candidate.requests} of {policy.min_requests} requests were answered"
        )
    doubts = [one.reason for one in findings if one.ruling is Ruling.WAIT]
    if doubts:
        return Verdict(Ruling.WAIT, "; ".join(doubts))
    return Verdict(Ruling.PASS, "; ".join(one.reason for one in findings if one.reason))


def _rate(name: str, hits: int, trials: int, limit: float) -> Verdict:
    seen = f"{name} {hits} of {trials}, limit {limit:.3%}"
    if surely_above(hits, trials, limit, Z_BREACH):
        return Verdict(Ruling.BREACH, seen)
    is_spotless = limit == 0 and trials > 0 and hits == 0  # no number of requests proves a 0
    if is_spotless or surely_below(hits, trials, limit, Z_PASS):
        return Verdict(Ruling.PASS, seen)
    return Verdict(Ruling.WAIT, f"{seen}: too few to tell")


def _latency(
    policy: WatchPolicy,
    elapsed_s: float,
    candidate: Observation,
    previous: Observation | None,
    *,
    is_same_load: bool,
) -> Verdict:
    ratio = policy.max_p99_ratio
    if ratio is None or previous is None:
        return Verdict(Ruling.PASS, "")
    ours, theirs = candidate.latencies, previous.latencies
    seen = (
        f"p99 {ours.quantile_us(0.99) / 1e3:.1f} ms, before {theirs.quantile_us(0.99) / 1e3:.1f} ms,"
        f" limit {ratio:g} times that"
    )
    if ours.bounds_us(0.99, Z_BREACH)[0] > ratio * theirs.bounds_us(0.99, Z_BREACH)[1]:
        is_slower = is_same_load or candidate.paces.is_slower(
            ratio, previous.paces, z_slower=Z_BREACH, z_kept=Z_PASS
        )
        if is_slower is False:
            return Verdict(Ruling.PASS, f"{seen}; but batches of a size take no longer than that")
        if is_slower is None and elapsed_s < policy.window_s:
            return Verdict(Ruling.WAIT, f"{seen}: it may be their number")
        return Verdict(Ruling.BREACH, seen)
    if ours.bounds_us(0.99, Z_PASS)[1] <= ratio * theirs.bounds_us(0.99, Z_PASS)[0]:
        return Verdict(Ruling.PASS, seen)
    return Verdict(Ruling.WAIT, f"{seen}: too few to tell")
