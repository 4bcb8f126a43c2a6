"""`training.triggers`: what people, and programs for them, want of training.

    train    a run of a configuration, which stands here or lies at a URL
    cancel   a run ends, or does not begin
    resume   a run that failed or was cancelled goes on; one that was withheld is released again

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
MAX_MODEL = 90  # characters of a model's name in a run's id

Cause = Literal["manual", "drift", "schedule"]
Priority = Annotated[int, msgspec.Meta(ge=0, le=9)]  # 1 is the highest; 0: the default


class ConfigReference(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that lies elsewhere, as it was when it was named."""

    url: Url  # under a prefix of CHIMERA_TRAINING__SOURCES
    sha256: Sha256


class _Trigger(msgspec.Struct, frozen=True, kw_only=True, tag_field="action"):
    trigger_id: Name
    tenant: Name
    actor: Actor
    v: int = TRIGGER_VERSION


class TrainModel(_Trigger, frozen=True, kw_only=True, tag="train"):
    """Order a run."""

    config: TrainingConfig | None = None
    reference: ConfigReference | None = None  # one of the two
    priority: Priority = 0
    promote: bool = False  # whatever the configuration's release says
    reason: Cause = "manual"

    def __post_init__(self) -> None:
        if (self.config is None) == (self.reference is None):
            raise ValueError("either config or reference, not both and not none")


class CancelRun(_Trigger, frozen=True, kw_only=True, tag="cancel"):
    """Its checkpoints stay, so that it can be resumed."""

    run_id: Name


class ResumeRun(_Trigger, frozen=True, kw_only=True, tag="resume"):
    """From the last checkpoint, by the order that it was begun with."""

    run_id: Name


Trigger = TrainModel | CancelRun | ResumeRun
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


def run_id_of(tenant: str, trigger_id: str, model: str) -> str:
    """The id of the run that a trigger orders: the same however often it comes, and no other's."""
    digest = hashlib.sha256(f"{tenant}/{trigger_id}".encode()).hexdigest()
    return f"{model[:MAX_MODEL]}-{digest[:16]}"
