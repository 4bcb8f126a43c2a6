"""`models.events`: what happened to models, for operators, programs and the audit log.

    begun         a command that takes long is being done: again, if whoever did it was lost
    answered      a command was done, refused, or failed
    compiling     a step of a compile that is under way
    compiled      tiers of a version: verified, rejected or skipped, and the report's digest
    tier          a circuit breaker of a tier opened, was probed, or closed
    refused       a node's executors did not load a version: it goes on as it was, and tries again
    judged        a watch is over: passed or breached, with what was seen
    rolled_back   by hand, or by itself because a watch was breached

`command_id` is that of the command it all began with, if there was one.
`tests/schemas/test_model_events.py`.
"""

from typing import Annotated, Literal, get_args

import msgspec

from chimera.schemas.compile_report import TierReport
from chimera.schemas.model_commands import WatchPolicy
from chimera.schemas.model_names import Actor, Count, Milliseconds, Name, Reason, Sha256
from chimera.schemas.versioned import Form

EVENT_VERSION = 1

BreakerState = Literal["closed", "open", "half_open"]


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    event_id: Name
    tenant: Name
    model: Name
    at_ms: Milliseconds
    source: Actor  # which node, or which controller
    command_id: Name | None = None
    v: int = EVENT_VERSION


class CommandBegun(_Event, frozen=True, kw_only=True, tag="begun"):
    """A compile or a register is being done; its answer follows."""

    action: Name
    version: Name
    attempt: Annotated[int, msgspec.Meta(ge=1)]  # this one included; there is a last one


class CommandAnswered(_Event, frozen=True, kw_only=True, tag="answered"):
    """The outcome of a command: exactly one for each."""

    action: Name
    outcome: Literal["done", "refused", "failed"]
    version: Name | None = None
    error: Reason = ""  # why not, for people
    revision: Count = 0  # of the state that it led to; 0: it changed nothing


class CompileStepped(_Event, frozen=True, kw_only=True, tag="compiling"):
    """Something is being done to a tier, or was; a compile that is done again tells it again."""

    version: Name
    tier: (
        Reason  # or tiers, while they are measured in turns; reference: what they are compared with
    )
    stage: Name  # making, loading, warming, verifying, measuring, or the tier's verdict
    detail: Reason = ""


class TierCompiled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one tier of a version."""

    tier: Name
    verdict: Literal["verified", "rejected", "skipped"]
    reason: Reason = ""  # of a tier that may not serve
    sha256: Sha256 | None = None  # of its artifact
    report: TierReport | msgspec.UnsetType = msgspec.UNSET  # an older release has told none


class ModelCompiled(_Event, frozen=True, kw_only=True, tag="compiled"):
    """A version was compiled and verified; each tier's report with it."""

    version: Name
    report_sha256: Sha256
    tiers: Annotated[tuple[TierCompiled, ...], msgspec.Meta(max_length=64)]


class TierChanged(_Event, frozen=True, kw_only=True, tag="tier"):
    """A circuit breaker changed in one executor; the source names it: <node>/<executor>."""

    version: Name
    tier: Name
    before: BreakerState
    after: BreakerState
    reason: Reason


class VersionRefused(_Event, frozen=True, kw_only=True, tag="refused"):
    """A node's executors did not load a version, or ended over it."""

    version: Name
    revision: Annotated[int, msgspec.Meta(ge=1)]  # of the state that wants it
    reason: Reason
    tries: Annotated[int, msgspec.Meta(ge=1)]  # of this state, on this node, this one included


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """What a version was seen to do while it was watched."""

    requests: Count
    errors: Count
    p99_us: Count
    compared: Count = 0
    disagreed: Count = 0


class WatchJudged(_Event, frozen=True, kw_only=True, tag="judged"):
    """A watch is over."""

    version: Name
    verdict: Literal["passed", "breached"]
    reason: Reason
    policy: WatchPolicy
    candidate: Observed
    previous: Observed | None = None


class ModelRolledBack(_Event, frozen=True, kw_only=True, tag="rolled_back"):
    """Versions were taken out of traffic, and what was live before is live again."""

    withdrawn: tuple[Name, ...]
    restored: tuple[Name, ...]
    is_automatic: bool
    reason: Reason
    revision: Annotated[int, msgspec.Meta(ge=1)]


Event = (
    CommandBegun
    | CommandAnswered
    | CompileStepped
    | ModelCompiled
    | TierChanged
    | VersionRefused
    | WatchJudged
    | ModelRolledBack
)
EVENTS: tuple[type[Event], ...] = get_args(Event)

_FORM = Form[Event]("model event", Event, EVENT_VERSION)
encode_event = _FORM.encode
decode_event = _FORM.decode
