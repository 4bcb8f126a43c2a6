"""`models.commands`: what operators, and programs for them, want done with a model.

    register   a version is to be known: its files lie at a URL
    compile    into the tiers named, or into all that the machine can run
    deploy     a version gets a part of the traffic, or shadows a part of it
    promote    a version gets all of it, under watch
    rollback   what was live before is live again
    pause      requests of the model wait            resume   they are computed again

Each names who wants it and why, and has an id: its answer on `models.events` bears the same, and a
command that arrives twice is done once. `tests/schemas/test_model_commands.py`.
"""

from typing import Annotated, get_args

import msgspec

from chimera.schemas.model_names import Actor, Count, Name, Reason, Sha256, Share, Url, Weight
from chimera.schemas.versioned import Form

COMMAND_VERSION = 1
STORED = "store:"  # the source of a version that is stored already: nobody looks at it

Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]


class WatchPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a promoted version must keep to, or it is rolled back; `workers/watching/watch.py` judges it."""

    window_s: Annotated[
        int, msgspec.Meta(ge=0, le=2_592_000, description="seconds; it passes no earlier")
    ] = 300
    min_requests: Annotated[
        Count, msgspec.Meta(description="nor before it has answered so many")
    ] = 500
    max_error_rate: Annotated[
        Rate, msgspec.Meta(description="a larger share of its own errors breaches")
    ] = 0.01
    max_p99_ratio: Annotated[
        Annotated[float, msgspec.Meta(gt=0)] | None,
        msgspec.Meta(description="to the 99th percentile of the version before; `null`: any"),
    ] = 1.5
    max_disagreement: Annotated[
        Rate | None,
        msgspec.Meta(description="with the version before, which shadows it; `null`: not compared"),
    ] = None


class _Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="action"):
    command_id: Name
    tenant: Name
    model: Name
    actor: Actor
    reason: Reason = ""
    v: int = COMMAND_VERSION


class RegisterModel(_Command, frozen=True, kw_only=True, tag="register"):
    """Make a version known; it cannot be changed afterwards."""

    version: Name
    source: Url  # of the folder with its signed manifest, where the store has not got it yet
    manifest_sha256: Sha256


class CompileModel(_Command, frozen=True, kw_only=True, tag="compile"):
    """Compile a version and verify what comes out."""

    version: Name
    tiers: tuple[Name, ...] = ()  # none: all that the machine can run


class DeployModel(_Command, frozen=True, kw_only=True, tag="deploy"):
    """Give a version traffic beside what is live, or let it shadow what is live."""

    version: Name
    weight: Weight = 1.0  # share of the requests, in whole percents; 1: all of them
    shadow_share: Share | None = None  # of the requests, computed and compared, never answered
    watch: WatchPolicy | None = None


class PromoteModel(_Command, frozen=True, kw_only=True, tag="promote"):
    """Give a version all traffic; what was live before is kept for a way back."""

    version: Name | None = None  # none: the one that was deployed beside what is live
    watch: WatchPolicy | None = WatchPolicy()  # none: it stays, whatever happens


class RollBackModel(_Command, frozen=True, kw_only=True, tag="rollback"):
    """Make live again what was live before, or a version by name."""

    version: Name | None = None


class PauseModel(_Command, frozen=True, kw_only=True, tag="pause"):
    """Let a model's requests wait."""


class ResumeModel(_Command, frozen=True, kw_only=True, tag="resume"):
    """Compute them again."""


Command = (
    RegisterModel
    | CompileModel
    | DeployModel
    | PromoteModel
    | RollBackModel
    | PauseModel
    | ResumeModel
)
COMMANDS: tuple[type[Command], ...] = get_args(Command)

_FORM = Form[Command]("model command", Command, COMMAND_VERSION)
encode_command = _FORM.encode
decode_command = _FORM.decode
