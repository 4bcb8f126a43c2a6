"""What a replay came to: recorded requests through a candidate, compared with what was served.

The counts add up: `requests` = those that were replayed + those that were not, by reason. A report is
bound to a version by the digest of its manifest, states the limits that it was judged by, and is kept
in the registry, where a promotion can ask for it (`promotion_policy.py`).
`tests/schemas/test_replay_report.py`.
"""

from typing import Annotated, Literal

import msgspec

from chimera.schemas.errors import SchemaInvalid
from chimera.schemas.model_commands import Rate
from chimera.schemas.model_names import Count, Milliseconds, Name, Reason, Sha256

REPLAY_REPORT_VERSION = 1

Verdict = Literal["passed", "failed", "undecided"]
Ratio = Annotated[float, msgspec.Meta(gt=0)]


class ReplayLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a candidate must keep to; each rate is judged by what surely lies behind it."""

    min_requests: Count = 500  # answered well by what served; fewer decide nothing
    max_disagreement: Rate = 0.01  # of those that both answered
    max_error_rate: Rate = 0.01  # errors where what served had none
    max_p99_ratio: Ratio | None = 3.0  # of a batch's compute; none: as it may be

    def holds(self, wanted: "ReplayLimits") -> bool:
        """Whether who keeps to these also keeps to `wanted`."""
        ratio, allowed = self.max_p99_ratio, wanted.max_p99_ratio
        return (
            self.min_requests >= wanted.min_requests
            and self.max_disagreement <= wanted.max_disagreement
            and self.max_error_rate <= wanted.max_error_rate
            and (allowed is None or (ratio is not None and ratio <= allowed))
        )


class ReplayCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of the model in the window, each in one of these."""

    agreed: Count = 0
    disagreed: Count = 0
    broken: Count = 0  # served well, and the candidate answers with an error
    mended: Count = 0  # the other way round
    both_failed: Count = 0
    unanswered: Count = 0  # no result: in flight, or retention has removed it
    unrelated: Count = 0  # an outcome that no model decided: expired, shed, refused at the door
    own: Count = 0  # answered by the candidate itself
    pinned: Count = 0  # they name a version
    others: Count = 0  # answered by a version that was not asked for

    @property
    def replayed(self) -> int:
        return self.agreed + self.disagreed + self.broken + self.mended + self.both_failed

    @property
    def requests(self) -> int:
        return sum(msgspec.structs.astuple(self))


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """Microseconds that batches took to compute, counted once a request, and their mean rows."""

    p50_us: float = 0.0
    p99_us: float = 0.0
    mean_rows: float = 0.0


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One request that came out otherwise; what was answered is shortened."""

    request: str  # <topic>:<partition>:<offset>
    served: str
    candidate: str
    reason: str


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """One replay of one version."""

    model: Name
    version: Name
    sha256: Sha256  # the version's digest
    since_ms: Milliseconds
    until_ms: Milliseconds
    made_at_ms: Milliseconds
    took_s: float
    limits: ReplayLimits
    counts: ReplayCounts
    served: Speed
    candidate: Speed
    verdict: Verdict
    reason: Reason
    errors: dict[str, int] = {}  # the candidate's, by code
    served_errors: dict[str, int] = {}  # all that were found, by code
    served_by: dict[str, int] = {}  # what was replayed, by the versions that had answered it
    differences: tuple[Difference, ...] = ()  # the first few
    is_cut: bool = False  # retention has removed the window's beginning, or results of it
    v: int = REPLAY_REPORT_VERSION

    @property
    def p99_ratio(self) -> float | None:
        """The candidate's to that of what served; None: one of them computed nothing."""
        if not self.served.p99_us or not self.candidate.p99_us:
            return None
        return self.candidate.p99_us / self.served.p99_us


_DECODER = msgspec.json.Decoder(ReplayReport)


def encode(report: ReplayReport) -> bytes:
    return msgspec.json.encode(report)


def decode(raw: bytes | str) -> ReplayReport:
    """Read a report.

    Raises:
        SchemaInvalid: it is none, or of a form that this release does not know.
    """
    try:
        report = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SchemaInvalid(f"replay report: {error}") from None
    if report.v != REPLAY_REPORT_VERSION:
        raise SchemaInvalid(
            f"replay report: v is {report.v}, this release reads {REPLAY_REPORT_VERSION}"
        )
    return report
