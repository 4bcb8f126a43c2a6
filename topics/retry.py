"""What becomes of a request whose attempt failed: again here, again later, or never.

A pure function of the failure, the policy and the time (DESIGN 5.4). With `ordering: key` the
lane tries again itself, with nothing overtaking, for a short while; with `ordering: none` the
request climbs the ladder of retry topics and the lane goes on. No try is planned at or past the
caller's deadline. All times are milliseconds since the epoch.
`tests/topics/test_retry.py` states its laws as properties.
"""

from dataclasses import dataclass
from typing import Literal

from chimera.schemas.errors import RequestError
from chimera.schemas.serving_settings import ServingSettings

FIRST_BACKOFF_MS = 50
LONGEST_BACKOFF_MS = 1_000  # longer would waste the end of the inline time


@dataclass(frozen=True, slots=True)
class Policy:
    """How long and how often; see the settings of the same names."""

    inline_retry_ms: int
    decide_within_ms: int
    delays_ms: tuple[int, ...]

    @classmethod
    def of(cls, serving: ServingSettings) -> "Policy":
        return cls(serving.inline_retry_ms, serving.decide_within_ms, serving.retry_delays_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A request's latest failure and what bounds its further tries."""

    error: type[RequestError] | RequestError
    ordering: Literal["key", "none"]
    attempt: int  # attempts so far, this one included: 1 is the first; counts retry topics' too
    entered_ms: int  # when it entered the lane's window
    first_failure_ms: int  # of this lane for `key`; kept across retry topics for `none`
    deadline_ms: int = 0  # the caller's, tolerance included; 0: none


@dataclass(frozen=True, slots=True)
class RetryInLane:
    at_ms: int


@dataclass(frozen=True, slots=True)
class RetryOnTopic:
    rung: int  # index into the catalogue's `retries`
    not_before_ms: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Answer with the error, and leave a copy for operators."""


Decision = RetryInLane | RetryOnTopic | DeadLetter


def decide(failed: Failed, policy: Policy, now_ms: int) -> Decision:
    """The next step for a request that failed at `now_ms`."""
    if not failed.error.retriable:
        return DeadLetter()
    if failed.ordering == "none":
        return _climb(failed, policy, now_ms)
    at_ms = now_ms + backoff_ms(failed.attempt)
    last_ms = min(
        failed.first_failure_ms + policy.inline_retry_ms,
        failed.entered_ms + policy.decide_within_ms,
    )
    if at_ms >= last_ms or _too_late(at_ms, failed.deadline_ms):
        return DeadLetter()
    return RetryInLane(at_ms)


def backoff_ms(attempt: int) -> int:
    """The pause after the given attempt (from 1): doubles, up to the longest."""
    return min(FIRST_BACKOFF_MS << min(attempt - 1, 16), LONGEST_BACKOFF_MS)


def _climb(failed: Failed, policy: Policy, now_ms: int) -> Decision:
    rung = failed.attempt - 1
    if rung >= len(policy.delays_ms):
        return DeadLetter()
    not_before_ms = now_ms + policy.delays_ms[rung]
    if _too_late(not_before_ms, failed.deadline_ms):
        return DeadLetter()
    return RetryOnTopic(rung, not_before_ms)


def _too_late(at_ms: int, deadline_ms: int) -> bool:
    return bool(deadline_ms) and at_ms >= deadline_ms
