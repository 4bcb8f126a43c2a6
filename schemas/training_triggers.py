"""`training.triggers`: what people, and programs for them, want of training.

    train           a run of a configuration, which stands here or lies at a URL
    cancel          a run ends, or does not begin
    resume          a run that failed or was cancelled goes on; one that was withheld is released again
    set_policy      runs are ordered by the clock, or when data have drifted
    remove_policy   and are not any more

Each names who wants it, and has an id: its answer on `training.events` bears the same, and a trigger
that comes twice is done once. Who may is the registry's to say (`training_rights`); nothing here
proves who wrote it. `tests/schemas/test_training_triggers.py`.
"""

import hashlib
from typing import Annotated, Literal, get_args

import msgspec

from chimera.schemas.errors import Malformed, RequestError
from chimera.schemas.faults import faults
from chimera.schemas.model_names import Actor, Name, Sha256, Url
from chimera.schemas.training_config import TrainingConfig
from chimera.schemas.versioned import Form

TRIGGER_VERSION = 1
DEFAULT_PRIORITY = 5
MAX_MODEL = 90  # characters of a model's name in a run's id, and of a policy's in a trigger's

Cause = Literal["manual", "drift", "schedule"]
Priority = Annotated[int, msgspec.Meta(ge=0, le=9)]  # 1 is the highest; 0: the default
Interval = Annotated[int, msgspec.Meta(ge=60, le=366 * 86_400)]  # seconds


class ConfigReference(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that lies elsewhere, as it was when it was named."""

    url: Url  # under a prefix of CHIMERA_TRAINING__SOURCES
    sha256: Sha256


class ServedRows(msgspec.Struct, frozen=True, kw_only=True):
    """What a model was asked, as `chimera ingest` writes it, with what turned out to be right."""

    url: Url  # of a folder of Parquet, under a prefix of CHIMERA_TRAINING__SOURCES
    since_s: Interval = 86_400  # rows of requests no older, looked at as often


class _Trigger(msgspec.Struct, frozen=True, kw_only=True, tag_field="action"):
    trigger_id: Name
    tenant: Name
    actor: Actor
    v: int = TRIGGER_VERSION


class _Order(_Trigger, frozen=True, kw_only=True):
    """Which run."""

    config: TrainingConfig | None = None
    reference: ConfigReference | None = None  # one of the two
    priority: Priority = 0
    promote: bool = False  # whatever the configuration's release says

    def __post_init__(self) -> None:
        if (self.config is None) == (self.reference is None):
            raise ValueError("either config or reference, not both and not none")


class TrainModel(_Order, frozen=True, kw_only=True, tag="train"):
    """Order a run."""

    reason: Cause = "manual"


class CancelRun(_Trigger, frozen=True, kw_only=True, tag="cancel"):
    """Its checkpoints stay, so that it can be resumed."""

    run_id: Name


class ResumeRun(_Trigger, frozen=True, kw_only=True, tag="resume"):
    """From the last checkpoint, by the order that it was begun with."""

    run_id: Name


class SetPolicy(_Order, frozen=True, kw_only=True, tag="set_policy"):
    """Order runs again and again, in the name of who sets it; over the policy of that name before.

    By the clock the first one is due an interval from now; on drift, as soon as a run of the model finds
    some, or what is served differs from what its last finished run has learnt from.
    """

    policy: Name
    cause: Literal["drift", "schedule"]
    interval_s: Interval  # by the clock: from one to the next; on drift: at least
    served: ServedRows | None = None  # on drift: these are looked at, too

    def __post_init__(self) -> None:
        _Order.__post_init__(self)
        if self.served is not None and self.cause != "drift":
            raise ValueError("served rows are looked at on drift, not by the clock")


class RemovePolicy(_Trigger, frozen=True, kw_only=True, tag="remove_policy"):
    """It orders no more; runs that it has ordered go on."""

    policy: Name


Trigger = TrainModel | CancelRun | ResumeRun | SetPolicy | RemovePolicy
TRIGGERS: tuple[type[Trigger], ...] = get_args(Trigger)


class _Head(msgspec.Struct):
    v: int
    action: str


_FORM = Form[Trigger]("training trigger", Trigger, TRIGGER_VERSION)
encode_trigger = _FORM.encode
decode_trigger = _FORM.decode


def reasons(value: bytes, error: RequestError) -> tuple[str, ...]:
    """Everything that is wrong with a value that `decode_trigger` refused with `error`."""
    if isinstance(error, Malformed):
        return (str(error),)
    try:
        head = msgspec.json.decode(value, type=_Head)
    except msgspec.ValidationError:
        return (str(error),)
    kinds = {kind.__struct_config__.tag: kind for kind in TRIGGERS}
    kind = kinds.get(head.action)
    if kind is None or head.v != TRIGGER_VERSION:
        return (str(error),)
    return tuple(faults(msgspec.json.decode(value), kind)) or (str(error),)


def firing_id(tenant: str, setting_id: str, policy: str, occasion: str) -> str:
    """The id of the trigger that a policy fires on an occasion; a policy that is set anew has others."""
    digest = hashlib.sha256(f"{tenant}/{setting_id}/{occasion}".encode()).hexdigest()
    return f"{policy[:MAX_MODEL]}-{digest[:16]}"


def run_id_of(tenant: str, trigger_id: str, model: str) -> str:
    """The id of the run that a trigger orders: the same however often it comes, and no other's."""
    digest = hashlib.sha256(f"{tenant}/{trigger_id}".encode()).hexdigest()
    return f"{model[:MAX_MODEL]}-{digest[:16]}"
