"""What a command means, and what is said of it: values in, values out.

    change_of    a command of traffic as the registry's change
    refusal_of   a record that is no command, as the answer to whoever wrote it
    Reply        the events of one command: what happened, then its one answer

A weight is a share of the requests, in whole percents, as is what a shadow computes: 1 is all of
them. What is watched is what gets requests, so a shadow has no watch policy; and outputs are compared
where what served before can shadow, which it cannot while it answers. `tests/agents/controlling/test_replies.py`.
"""

import time
import uuid
from collections.abc import Mapping
from typing import Literal

import msgspec

from chimera.schemas.deployments import Change, Live
from chimera.schemas.errors import DeploymentRefused, SchemaInvalid
from chimera.schemas.manifest import is_name
from chimera.schemas.model_commands import (
    Command,
    CompileModel,
    DeployModel,
    PauseModel,
    PromoteModel,
    RegisterModel,
    ResumeModel,
    RollBackModel,
    WatchPolicy,
    decode_command,
)
from chimera.schemas.model_events import CommandAnswered, CommandBegun, Event, ModelRolledBack
from chimera.schemas.model_names import key, read_key

MAX_REASON = 4_096
UNKNOWN = "unknown"

Outcome = Literal["done", "refused", "failed"]
Traffic = DeployModel | PromoteModel | RollBackModel | PauseModel | ResumeModel


class _Traces(msgspec.Struct):
    """What may be left of a command that cannot be read."""

    action: object = None
    command_id: object = None


class Reply:
    """Collects the events of one command; `source` is who answers."""

    def __init__(
        self, source: str, tenant: str, model: str, action: str, command_id: str | None
    ) -> None:
        self.source, self.tenant, self.model = source, tenant, model
        self.action, self.command_id = action, command_id
        self.version: str | None = None
        self.answer_id = ""  # of the answer; empty: any, as its command's id says which it is
        self.revision = 0
        self.told: list[Event] = []

    @property
    def common(self) -> dict[str, object]:
        """The fields that every event of the command has."""
        return {
            "event_id": uuid.uuid4().hex,
            "tenant": self.tenant,
            "model": self.model,
            "at_ms": time.time_ns() // 1_000_000,
            "source": self.source,
            "command_id": self.command_id,
        }

    def end(self, outcome: Outcome, error: str = "") -> tuple[Event, ...]:
        """All events, the answer last."""
        answer = msgspec.convert(
            {
                **self.common,
                **({"event_id": self.answer_id} if self.answer_id else {}),
                "event": "answered",
                "action": self.action,
                "outcome": outcome,
                "version": self.version,
                "error": error[:MAX_REASON],
                "revision": self.revision,
            },
            CommandAnswered,
        )
        return (*self.told, answer)


def begun(source: str, command: RegisterModel | CompileModel, attempt: int) -> CommandBegun:
    """That it is being done, for so manieth a time."""
    reply = reply_to(source, command)
    about = {"action": reply.action, "version": command.version, "attempt": attempt}
    return msgspec.convert({**reply.common, **about, "event": "begun"}, CommandBegun)


def rolled_back(
    common: Mapping[str, object], before: Live, after: Live, reason: str, *, is_automatic: bool
) -> ModelRolledBack:
    """What a rollback took out of traffic, and what it brought back; `common` as of `Reply`."""
    had = [one.version for one in (before.serving, before.candidate) if one]
    has = [one.version for one in (after.serving,) if one]
    event = {
        **common,
        "event": "rolled_back",
        "withdrawn": tuple(one for one in had if one not in has),
        "restored": tuple(has),
        "is_automatic": is_automatic,
        "reason": reason,
        "revision": after.sequence,
    }
    return msgspec.convert(event, ModelRolledBack)


def read_command(record_key: bytes | None, value: bytes | None) -> Command:
    """The command of a record.

    Raises:
        Malformed, SchemaInvalid: it is none, or its key names another model.
    """
    if value is None:
        raise SchemaInvalid("model command: a record without a value")
    command = decode_command(value)
    expected = key(command.tenant, command.model)
    if record_key != expected:
        raise SchemaInvalid(f"model command: its key is {record_key!r}, not {expected!r}")
    return command


def refusal_of(source: str, record_key: bytes | None, value: bytes | None) -> Reply:
    """The reply to a record that is no command, by what can be read of it.

    Raises:
        SchemaInvalid: the key names no model: there is nobody to answer.
    """
    tenant, model = read_key(record_key)
    try:
        left = msgspec.json.decode(value or b"", type=_Traces)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        left = _Traces()
    command_id = _name(left.command_id)
    return Reply(source, tenant, model, _name(left.action) or UNKNOWN, command_id)


def reply_to(source: str, command: Command) -> Reply:
    """An empty reply; the version is the one that the command names."""
    action = str(msgspec.to_builtins(command)["action"])
    reply = Reply(source, command.tenant, command.model, action, command.command_id)
    reply.version = getattr(command, "version", None)
    return reply


def change_of(command: Traffic) -> Change:
    """What the registry is to record.

    Raises:
        DeploymentRefused: a weight or a share that it cannot hold.
    """
    version = None if isinstance(command, PauseModel | ResumeModel) else command.version
    actions: dict[type[Traffic], Literal["deploy", "promote", "rollback", "pause", "resume"]] = {
        DeployModel: "deploy",
        PromoteModel: "promote",
        RollBackModel: "rollback",
        PauseModel: "pause",
        ResumeModel: "resume",
    }
    return Change(
        actions[type(command)],
        command.actor,
        command.reason,
        version,
        _percent(command) if isinstance(command, DeployModel) else 100,
        command.command_id,
        _policy(command),
        share=_share(command),
    )


def _policy(command: Traffic) -> WatchPolicy | None:
    """Raises DeploymentRefused: nothing could judge it."""
    if isinstance(command, PromoteModel):
        return command.watch
    if not isinstance(command, DeployModel) or command.watch is None:
        return None
    if command.shadow_share is not None:
        raise DeploymentRefused("watch: a shadow answers nothing, so there is nothing to watch")
    if command.watch.max_disagreement is not None and command.weight < 1:
        raise DeploymentRefused(
            "max_disagreement: what serves cannot shadow what it shares requests with; promote it"
        )
    return command.watch


def _percent(command: DeployModel) -> int:
    """0: a shadow."""
    return 0 if command.shadow_share is not None else _whole("weight", command.weight)


def _share(command: Traffic) -> int:
    """That a shadow computes; of all others it says nothing."""
    if not isinstance(command, DeployModel) or command.shadow_share is None:
        return 100
    return _whole("shadow_share", command.shadow_share)


def _whole(field: str, share: float) -> int:
    percent = round(share * 100)
    if not 1 <= percent <= 100 or abs(share * 100 - percent) > 1e-6:
        raise DeploymentRefused(
            f"{field} {share}: it is a share of the requests in whole percents, from 0.01 to 1"
        )
    return percent


def _name(found: object) -> str | None:
    return found if isinstance(found, str) and is_name(found) else None
