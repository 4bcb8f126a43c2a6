"""What serves a model: a history of events, and the state that follows from it.

    deploy V, 100 %     V serves
    deploy V, w < 100   V is the candidate: it gets w percent; 0: copies alone, nothing visible
    promote [V]         the candidate, or V, serves; what served before is `previous`
    rollback [V]        the candidate goes; without one, `previous`, or V, serves again
    pause, resume       nothing is answered until it is resumed; all else stays

The first version that is deployed serves all of it, whatever its weight: there is nobody else.
`Live` is the registry's own view; what nodes follow is made of it (`stores/registry/states.py`).
Pure functions; `tests/schemas/test_deployments.py`.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from chimera.schemas.errors import DeploymentRefused

Action = Literal["deploy", "promote", "rollback", "pause", "resume"]
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]


class Change(msgspec.Struct, frozen=True):
    """What somebody wants; `command_id` makes a repeated one the same one."""

    action: Action
    actor: str
    reason: str = ""
    version: str | None = None  # None: the one that the state names
    weight: Percent = 100  # of a deploy alone
    command_id: str | None = None


class Placed(msgspec.Struct, frozen=True):
    """A version, and its digest: the SHA-256 of its manifest."""

    version: str
    sha256: str


class Deployment(msgspec.Struct, frozen=True):
    """One event of a model's history, as it was recorded."""

    sequence: int  # of the model, from 1, without gaps
    action: Action
    placed: Placed | None  # None: pause, resume
    weight: Percent
    actor: str
    reason: str
    at: datetime
    command_id: str | None = None


class Live(msgspec.Struct, frozen=True):
    """What serves a model after its event number `sequence`."""

    tenant: str
    model: str
    serving: Placed | None = None  # None: only ever paused
    candidate: Placed | None = None
    weight: Percent = 0  # of the candidate
    previous: Placed | None = None  # where a rollback goes
    paused: bool = False
    sequence: int = 0
    at: datetime | None = None


def after(live: Live, event: Deployment) -> Live:
    """The state that an event makes of the one before."""
    known = msgspec.structs.replace(live, sequence=event.sequence, at=event.at)
    placed = event.placed
    if placed is None:
        return msgspec.structs.replace(known, paused=event.action == "pause")
    if event.action == "deploy" and event.weight < 100 and live.serving not in (None, placed):
        return msgspec.structs.replace(known, candidate=placed, weight=event.weight)
    return msgspec.structs.replace(
        known, serving=placed, candidate=None, weight=0, previous=_previous(live, event)
    )


def _previous(live: Live, event: Deployment) -> Placed | None:
    """Where a rollback goes after this event; never to what was just rolled back."""
    if event.placed == live.serving:
        return live.previous
    return None if event.action == "rollback" else live.serving


def fold(tenant: str, model: str, history: Iterable[Deployment]) -> Live:
    """The state after all of a history, oldest event first."""
    live = Live(tenant, model)
    for event in history:
        live = after(live, event)
    return live


def target(live: Live, change: Change) -> str | None:
    """The version that a change is about; None for one that is about the model.

    Raises:
        DeploymentRefused: it names none where it has to, or the state has none.
    """
    if change.action in ("pause", "resume"):
        return None
    if change.version is not None:
        return change.version
    if change.action == "promote" and live.candidate is not None:
        return live.candidate.version
    if change.action == "rollback":
        back = live.serving if live.candidate is not None else live.previous
        if back is not None:
            return back.version
    lacks = {"promote": "no candidate", "rollback": "no previous version"}
    raise DeploymentRefused(
        f"{change.action} {live.model}: it has {lacks.get(change.action, 'no version')}; name one"
    )
