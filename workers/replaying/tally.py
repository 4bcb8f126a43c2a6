"""What a replay has counted so far, and the verdict that it allows.

The judge is the watch's (`workers/watching/watch.py`): a rate fails where it is surely above its limit and
passes where it is surely within; in between too little was replayed to tell, which is a verdict too.
Latencies are of batches as large as those that were served. `tests/workers/replaying/test_tally.py`.
"""

from collections import Counter

import numpy as np

from chimera.schemas.errors import RequestError
from chimera.schemas.model_commands import WatchPolicy
from chimera.schemas.outcomes import Outcome, outputs
from chimera.schemas.replay_report import Difference, ReplayCounts, ReplayLimits, Speed, Verdict
from chimera.schemas.tensors import Array
from chimera.workers.replaying.rule import Rule
from chimera.workers.watching.latencies import NONE, Latencies
from chimera.workers.watching.watch import Observation, Ruling, judge

SHOWN_DIFFERENCES = 5
SHOWN_CHARACTERS = 120
FOLD_AT = 4_096  # latencies that are kept one by one

VERDICTS: dict[Ruling, Verdict] = {
    Ruling.PASS: "passed",
    Ruling.BREACH: "failed",
    Ruling.WAIT: "undecided",
}


class Times:
    """Of one side's batches, once a request."""

    def __init__(self) -> None:
        self._latencies: Latencies = NONE
        self._kept: list[int] = []
        self._rows = self._count = 0

    def add(self, outcome: Outcome) -> None:
        self._kept.append(outcome.compute_us)
        self._rows += outcome.rows
        self._count += 1
        if len(self._kept) >= FOLD_AT:
            self._fold()

    def _fold(self) -> None:
        self._latencies += Latencies.of(self._kept)
        self._kept = []

    @property
    def latencies(self) -> Latencies:
        self._fold()
        return self._latencies

    @property
    def speed(self) -> Speed:
        found = self.latencies
        return Speed(
            p50_us=found.quantile_us(0.5),
            p99_us=found.quantile_us(0.99),
            mean_rows=self._rows / self._count if self._count else 0.0,
        )


class Tally:
    """Of one replay."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()  # the candidate's, by code
        self.served_errors: Counter[str] = Counter()
        self.served_by: Counter[str] = Counter()
        self.differences: list[Difference] = []
        self.served, self.candidate = Times(), Times()

    @property
    def counts(self) -> ReplayCounts:
        return ReplayCounts(**self._counts)

    def leave_out(self, why: str, count: int = 1) -> None:
        """Requests that are not replayed; `why` is one of the counts."""
        self._counts[why] += count

    def add(self, request: str, served: Outcome, found: Outcome) -> None:
        """One request that was replayed."""
        if served.digest:
            self.served_by[served.digest] += 1
        if found.code:
            self.errors[found.code] += 1
        if not served.code and not found.code:
            self._compare(request, served, found)
        elif found.code and not served.code:
            self._counts["broken"] += 1
            self._show(request, served, found, "an error where there was none")
        else:
            self._counts["both_failed" if found.code else "mended"] += 1

    def _compare(self, request: str, served: Outcome, found: Outcome) -> None:
        self.served.add(served)
        self.candidate.add(found)
        try:
            why = self._rule.difference(served, found)
        except RequestError as error:
            why = f"an answer that cannot be read: {error}"
        self._counts["disagreed" if why else "agreed"] += 1
        if why:
            self._show(request, served, found, why)

    def _show(self, request: str, served: Outcome, found: Outcome, why: str) -> None:
        if len(self.differences) < SHOWN_DIFFERENCES:
            shown = {"served": _shown(served), "candidate": _shown(found)}
            self.differences.append(Difference(request=request, reason=why, **shown))

    def verdict(self, limits: ReplayLimits) -> tuple[Verdict, str]:
        """The verdict, and why."""
        counts = self.counts
        compared = counts.agreed + counts.disagreed
        policy = WatchPolicy(
            window_s=0,
            min_requests=limits.min_requests,
            max_error_rate=limits.max_error_rate,
            max_p99_ratio=limits.max_p99_ratio,
            max_disagreement=limits.max_disagreement,
        )
        candidate = Observation(
            requests=compared + counts.broken,
            errors=counts.broken,
            latencies=self.candidate.latencies,
            compared=compared,
            disagreed=counts.disagreed,
        )
        found = judge(
            policy, 0.0, candidate, Observation(latencies=self.served.latencies), is_same_load=True
        )
        return VERDICTS[found.ruling], found.reason


def _shown(outcome: Outcome) -> str:
    """For people, shortened."""
    if outcome.code:
        return _short(f"{outcome.code}: {outcome.value.decode('utf-8', 'replace')}")
    try:
        found = outputs(outcome.value, outcome.head)
    except RequestError as error:
        return _short(str(error))
    return _short("; ".join(f"{one.name} {_elements(one.array)}" for one in found))


def _elements(array: Array) -> str:
    return np.array2string(array, precision=4, threshold=12, separator=", ").replace("\n", " ")


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
