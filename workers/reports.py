"""What an executor reports beside its answers, and its frame: JSON, since there is one a second.

    versions      what each one did, for `watching`
    shadows       what each came to
    transitions   what happened to the circuit breakers of their tiers

`tests/workers/test_reporting.py`.
"""

import msgspec

from chimera.schemas.model_events import BreakerState
from chimera.schemas.model_observed import Seen
from chimera.workers import frames
from chimera.workers.frames import BrokenFrame, Kind


class VersionSeen(msgspec.Struct, frozen=True):
    model: str
    version: str
    seen: Seen


class ShadowSeen(msgspec.Struct):
    """What a shadow came to, in requests: compared ones, and those that were to be."""

    model: str
    version: str
    compared: int = 0
    disagreed: int = 0  # errors among them
    errors: int = 0
    dropped: int = 0  # there was no time for them, no room, or no tier
    rows: int = 0  # computed
    compute_us: int = 0  # in its backends


class TierTransition(msgspec.Struct, frozen=True):
    """A circuit breaker of a tier, in this executor."""

    model: str
    version: str
    tier: str
    before: BreakerState
    after: BreakerState
    reason: str
    at_ms: int  # since the epoch


class Report(msgspec.Struct, frozen=True):
    slot: str  # whose: for example cpu:0:0
    versions: tuple[VersionSeen, ...] = ()
    transitions: tuple[TierTransition, ...] = ()
    pid: int = 0  # of the executor: its successor in the slot has breakers of its own
    shadows: tuple[ShadowSeen, ...] = ()


_REPORT = msgspec.json.Decoder(Report)


def frame_report(report: Report) -> bytes:
    return frames.frame(Kind.REPORT, msgspec.json.encode(report))


def read_report(body: bytes) -> Report:
    """Raises BrokenFrame."""
    try:
        return _REPORT.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BrokenFrame(f"report: {error}") from None
