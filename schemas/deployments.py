"""What serves a model: a history of events, and the state that follows from it.

    deploy V, 100 %     V serves
    deploy V, w < 100   V is the candidate: it gets w percent; 0: it shadows a share of what is answered
    promote [V]         the candidate, or V, serves; what served before is `previous`
    rollback [V]        the candidate goes; without one, `previous`, or a V that served, serves again
    pause, resume       nothing is answered until it is resumed; all else stays
    keep V              the watch over V has been judged, and V stays as it is
    recompile V         V, which the state names, runs with other tiers; all else stays

The first version that is deployed serves all of it, whatever its weight: there is nobody else. Where
nothing serves there is nothing to shadow, and what serves does not shadow itself.
A deploy or promote that comes with a policy opens a watch over its version, if that gets traffic and
there is one to go back to. The watch ends with what judges it (keep, or a rollback by the controller), or is superseded: by
whatever else is deployed, promoted or rolled back. A pause or a recompile does not end it.
`Live` is the registry's own view; what nodes follow is made of it (`stores/registry/states.py`).
Pure functions; `tests/schemas/test_deployments.py`.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from chimera.schemas.errors import DeploymentRefused
from chimera.schemas.model_commands import WatchPolicy

Action = Literal["deploy", "promote", "rollback", "pause", "resume", "keep", "recompile"]
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]
WatchEnd = Literal["open", "passed", "breached", "superseded"]
_JUDGEMENTS = uuid.UUID("5cf0f6b2-0a6f-4a0a-9d0a-3d1d7f1c7a55")


class Change(msgspec.Struct, frozen=True):
    """What somebody wants; `command_id` makes a repeated one the same one."""

    action: Action
    actor: str
    reason: str = ""
    version: str | None = None  # None: the one that the state names
    weight: Percent = 100  # of a deploy, or of what is kept
    command_id: str | None = None
    watch: WatchPolicy | None = None  # of a deploy or promote
    judges: int | None = None  # the event whose watch it ends; that must still be open
    share: Percent = 100  # of the requests, that a deploy of weight 0 shadows


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
    watch: WatchPolicy | None = None
    share: Percent = 100


class Watch(msgspec.Struct, frozen=True):
    """Over a version that got traffic, until it is judged or superseded."""

    sequence: int  # of the event that opened it: what the version did from this revision on counts
    placed: Placed
    weight: Percent  # below 100 `previous` answers the rest
    previous: Placed  # what it is compared with, and where a breach goes back to
    policy: WatchPolicy
    since: datetime
    command_id: str | None = None  # that opened it

    @property
    def shadow(self) -> Placed | None:
        """What computes its requests too, to be compared; a version that answers cannot."""
        is_compared = self.policy.max_disagreement is not None and self.weight == 100
        return self.previous if is_compared else None


class Live(msgspec.Struct, frozen=True):
    """What serves a model after its event number `sequence`."""

    tenant: str
    model: str
    serving: Placed | None = None  # None: only ever paused
    candidate: Placed | None = None
    weight: Percent = 0  # of the candidate
    share: Percent = 100  # that the candidate shadows, if it has no weight
    previous: Placed | None = None  # where a rollback goes
    paused: bool = False
    watch: Watch | None = None
    sequence: int = 0
    at: datetime | None = None


def after(live: Live, event: Deployment) -> Live:
    """The state that an event makes of the one before."""
    known = msgspec.structs.replace(live, sequence=event.sequence, at=event.at)
    placed = event.placed
    if placed is None:
        return msgspec.structs.replace(known, paused=event.action == "pause")
    if event.action == "recompile":
        return known
    if event.action == "keep":
        return msgspec.structs.replace(known, watch=None)
    if event.action == "deploy" and event.weight < 100 and live.serving not in (None, placed):
        watch = _watch(event, event.weight, live.serving) if event.weight else None
        return msgspec.structs.replace(
            known, candidate=placed, weight=event.weight, share=event.share, watch=watch
        )
    previous = _previous(live, event)
    return msgspec.structs.replace(
        known,
        serving=placed,
        candidate=None,
        weight=0,
        share=100,
        previous=previous,
        watch=_watch(event, 100, previous),
    )


def _watch(event: Deployment, weight: Percent, previous: Placed | None) -> Watch | None:
    if event.watch is None or event.placed is None or previous is None:
        return None
    return Watch(
        event.sequence, event.placed, weight, previous, event.watch, event.at, event.command_id
    )


def takes_over(live: Live, change: Change, version: str) -> bool:
    """Whether a change gives all requests to a version that does not have them yet.

    Not the first one, as there is nothing that it could be compared with; and a way back is none.
    """
    gives_all = change.action == "promote" or (change.action == "deploy" and change.weight == 100)
    return gives_all and live.serving is not None and live.serving.version != version


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
        DeploymentRefused: it names none where it has to, or the state has none; or it is to shadow
            nothing, or itself.
    """
    if change.action in ("pause", "resume"):
        return None
    if change.action == "deploy" and not change.weight:
        _require_shadowed(live, change)
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


def require_served(history: Iterable[Deployment], change: Change, model: str, version: str) -> None:
    """A rollback goes back: to a version that once had all requests, but for a candidate's share.

    Raises:
        DeploymentRefused: this one never had, so it is a promotion, and has to show what they do.
    """
    live = Live("", model)
    for event in history:
        live = after(live, event)
        if live.serving is not None and live.serving.version == version:
            return
    raise DeploymentRefused(
        f"{change.action} {model} {version}: it never served, so there is no way back to it; "
        "promote it"
    )


def _require_shadowed(live: Live, change: Change) -> None:
    if live.serving is None:
        raise DeploymentRefused(f"deploy {live.model}: nothing serves that a version could shadow")
    if live.serving.version == change.version:
        raise DeploymentRefused(
            f"deploy {live.model} {change.version}: it serves, and cannot shadow itself"
        )


def judgement_id(tenant: str, model: str, sequence: int) -> str:
    """Of the change that ends the watch which this event opened: the same, whoever makes it."""
    return uuid.uuid5(_JUDGEMENTS, f"{tenant}/{model}/{sequence}").hex


def watches(tenant: str, model: str, history: Iterable[Deployment]) -> dict[int, WatchEnd]:
    """What became of each watch, by the event that opened it."""
    live, found = Live(tenant, model), dict[int, WatchEnd]()
    for event in history:
        before, live = live.watch, after(live, event)
        if before is not None and live.watch is not before:
            found[before.sequence] = _end(event, judgement_id(tenant, model, before.sequence))
        if live.watch is not None:
            found[live.watch.sequence] = "open"
    return found


def _end(event: Deployment, judgement: str) -> WatchEnd:
    if event.command_id != judgement:
        return "superseded"
    return "passed" if event.action == "keep" else "breached"
