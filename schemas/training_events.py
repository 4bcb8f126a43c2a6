"""`training.events`: what became of triggers, and what runs do.

    answered      a trigger was accepted, or refused with every reason; exactly one for each
    queued        a run waits for a device            started       a trainer works on it
    progress      where it is, a line about a second  evaluated     an epoch is over
    checkpoint    it can go on from here              interrupted   its trainer ended; it goes on
    drift         its data are not those of before
    served_drift  what is served now is not what it has learnt from; where a policy asks for that
    finished, failed, cancelled                       how it ended; one of them, once
    registered, compiled, replayed, promoted, withheld    what became of the version that it made
    policy_set, policy_removed, fired                 runs that are ordered again and again
    omitted       stands for an event that its topic would not take

Told through the registry's outbox, in the order of each run's transactions; each stands here once.
What is too large is told shorter, and has `left_out`: the signature is then of the whole manifest.
`tests/schemas/test_training_events.py`.
"""

from typing import Annotated, Literal, get_args

import msgspec

from chimera.schemas.model_names import Actor, Count, Milliseconds, Name, Reason, Sha256
from chimera.schemas.replay_report import Verdict
from chimera.schemas.training_manifest import Drift, TrainingManifest
from chimera.schemas.training_triggers import Cause, Interval, Priority, TrainModel
from chimera.schemas.versioned import Form

EVENT_VERSION = 1
MAX_REASON = 4_096

Attempt = Annotated[int, msgspec.Meta(ge=1)]
FailureCode = Literal["refused", "aborted", "out_of_memory", "crashed", "hung", "died"]
Until = Literal["registered", "compiled", "promoted"]
Step = Literal["pack", "register", "compile", "replay", "promote"]


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    event_id: Name
    tenant: Name
    at_ms: Milliseconds
    source: Actor  # the agent that tells it
    v: int = EVENT_VERSION


class _RunEvent(_Event, frozen=True, kw_only=True):
    run_id: Name
    model: Name


class TriggerAnswered(_Event, frozen=True, kw_only=True, tag="answered"):
    """The outcome of a trigger; ids are missing where its record could not be read."""

    outcome: Literal["accepted", "refused"]
    action: Name = "unknown"
    trigger_id: Name | None = None
    run_id: Name | None = None
    reasons: tuple[Reason, ...] = ()  # all of them


class RunQueued(_RunEvent, frozen=True, kw_only=True, tag="queued"):
    """It waits for a device."""

    trigger_id: Name
    actor: Actor
    reason: Cause
    priority: Priority
    config_hash: Sha256
    until: Until


class RunStarted(_RunEvent, frozen=True, kw_only=True, tag="started"):
    """A trainer works on it, or goes on with it."""

    attempt: Attempt
    device: str


class RunProgressed(_RunEvent, frozen=True, kw_only=True, tag="progress"):
    """Of the attempt that is under way; one that goes on from a checkpoint tells steps again."""

    attempt: Attempt
    epoch: Count
    update: Count
    updates: Count  # of all epochs
    loss: float | None  # none: it was no number
    lr: float
    samples_per_s: float
    eta_s: float | None
    memory_bytes: Count  # of the trainer, and of its device where that is another's


class RunEvaluated(_RunEvent, frozen=True, kw_only=True, tag="evaluated"):
    """An epoch is over; metrics of the rows that were held out."""

    attempt: Attempt
    epoch: Count
    update: Count
    metrics: dict[str, float]
    is_best: bool


class CheckpointSaved(_RunEvent, frozen=True, kw_only=True, tag="checkpoint"):
    """It can go on from here."""

    attempt: Attempt
    update: Count
    path: str  # in the run's folder
    is_best: bool


class RunInterrupted(_RunEvent, frozen=True, kw_only=True, tag="interrupted"):
    """It is queued again, and goes on from its last checkpoint."""

    attempt: Attempt
    code: Literal["died", "hung", "agent_stopped"]
    error: Reason


class DriftFound(_RunEvent, frozen=True, kw_only=True, tag="drift"):
    """Its data are not those of the run before; the columns that differ."""

    previous_run_id: str
    columns: tuple[Drift, ...]
    left_out: Count | msgspec.UnsetType = msgspec.UNSET  # others that differ less; unset: none

    @property
    def drifted(self) -> int:
        """How many columns differ, whether they stand here or not."""
        return len(self.columns) + (self.left_out or 0)


class ServedDriftFound(_RunEvent, frozen=True, kw_only=True, tag="served_drift"):
    """What its model is asked is not what it has learnt from; told once of a run, and the policy fires."""

    policy: Name
    rows: Count  # served ones that were looked at
    since_ms: Milliseconds  # of their requests
    until_ms: Milliseconds
    columns: tuple[Drift, ...]  # that differ
    left_out: Count | msgspec.UnsetType = msgspec.UNSET  # as in `drift`

    @property
    def drifted(self) -> int:
        """As of `drift`."""
        return len(self.columns) + (self.left_out or 0)


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is of what a shortened manifest has in part; all of it is the run's own."""

    compared: Count  # columns; none that did not drift stands in the event
    drifted: Count  # of them
    slices: Count


class RunFinished(_RunEvent, frozen=True, kw_only=True, tag="finished"):
    """It ended well."""

    manifest: TrainingManifest
    left_out: LeftOut | msgspec.UnsetType = msgspec.UNSET  # unset: it is whole


class RunFailed(_RunEvent, frozen=True, kw_only=True, tag="failed"):
    """It cannot go on; resume it once the reason is gone."""

    code: FailureCode
    error: Reason
    attempt: Attempt


class RunCancelled(_RunEvent, frozen=True, kw_only=True, tag="cancelled"):
    """Somebody has ended it, or taken it out of the queue."""

    actor: Actor


class VersionRegistered(_RunEvent, frozen=True, kw_only=True, tag="registered"):
    """The run's version is known to the registry."""

    version: Name
    manifest_sha256: Sha256


class VersionCompiled(_RunEvent, frozen=True, kw_only=True, tag="compiled"):
    """At least one tier of it was verified."""

    version: Name


class VersionReplayed(_RunEvent, frozen=True, kw_only=True, tag="replayed"):
    """Recorded requests were run through it, since its model's policy asks for that; the report rests."""

    version: Name
    verdict: Verdict
    reason: Reason
    requests: Count  # that were replayed
    disagreed: Count  # of them: another answer, or an error where there was none
    since_ms: Milliseconds
    until_ms: Milliseconds


class VersionPromoted(_RunEvent, frozen=True, kw_only=True, tag="promoted"):
    """It gets all of its model's requests."""

    version: Name
    revision: Count


class VersionWithheld(_RunEvent, frozen=True, kw_only=True, tag="withheld"):
    """The run is finished, but its version did not get as far as it was to."""

    step: Step
    error: Reason


class _PolicyEvent(_Event, frozen=True, kw_only=True):
    policy: Name
    model: Name
    trigger_id: Name
    actor: Actor


class PolicySet(_PolicyEvent, frozen=True, kw_only=True, tag="policy_set"):
    """By this trigger, over the one before of its name."""

    cause: Literal["drift", "schedule"]
    interval_s: Interval


class PolicyRemoved(_PolicyEvent, frozen=True, kw_only=True, tag="policy_removed"):
    """By this trigger."""


class PolicyFired(_PolicyEvent, frozen=True, kw_only=True, tag="fired"):
    """It has ordered a run: the trigger of that id became visible together with this event."""

    cause: Literal["drift", "schedule"]
    occasion: (
        str  # when it was due; or the run that found drift; or `served:`, and whose data differ
    )
    order: TrainModel


class EventOmitted(_Event, frozen=True, kw_only=True, tag="omitted"):
    """Something was told here that no record can hold."""

    kind: Name
    size_bytes: Count
    run_id: Name | None = None


Event = (
    TriggerAnswered
    | RunQueued
    | RunStarted
    | RunProgressed
    | RunEvaluated
    | CheckpointSaved
    | RunInterrupted
    | DriftFound
    | ServedDriftFound
    | RunFinished
    | RunFailed
    | RunCancelled
    | VersionRegistered
    | VersionCompiled
    | VersionReplayed
    | VersionPromoted
    | VersionWithheld
    | PolicySet
    | PolicyRemoved
    | PolicyFired
    | EventOmitted
)
EVENTS: tuple[type[Event], ...] = get_args(Event)
ENDS = (RunFinished, RunFailed, RunCancelled)

_FORM = Form[Event]("training event", Event, EVENT_VERSION)
encode_event = _FORM.encode
decode_event = _FORM.decode
