"""Deployments: a history that only grows, and the state that `schemas.deployments` folds it to.

Changes of one model come one after the other: each takes the model's lock until it is committed, so
sequence numbers have no gaps and outbox rows of one key stand in the order of their transactions.
Functions over a tenant's transaction, as in `versions`.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec

from chimera.schemas.deployments import (
    Change,
    Deployment,
    Live,
    Placed,
    after,
    fold,
    require_served,
    takes_over,
    target,
)
from chimera.schemas.errors import DeploymentRefused
from chimera.schemas.model_commands import WatchPolicy
from chimera.schemas.model_events import Event, encode_event
from chimera.schemas.model_names import key
from chimera.schemas.model_state import encode_state
from chimera.stores.registry import artifacts, outbox, replays, states, tenants, versions

if TYPE_CHECKING:
    from uuid import UUID

    from asyncpg import Record

    from chimera.stores.postgres import Connection

STATE, EVENTS = "models.state", "models.events"

Tell = Callable[[Live, Live], Iterable[Event]]

_OF_WHAT_IS_THERE = ("keep", "recompile")  # nothing gets requests by it

_WATCH = msgspec.json.Decoder(WatchPolicy)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_SELECT = """
SELECT m.name, d.sequence, d.action, v.version, encode(sha256(v.manifest_bytes), 'hex'), d.weight,
       d.actor, d.reason, d.at, d.command_id, d.watch, d.share
FROM deployments d
JOIN models m ON (m.tenant_id, m.id) = (d.tenant_id, d.model_id)
LEFT JOIN versions v ON (v.tenant_id, v.id) = (d.tenant_id, d.version_id)
"""
_INSERT = """
INSERT INTO deployments
    (tenant_id, model_id, sequence, action, version_id, weight, actor, reason, command_id, at,
     watch, share)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, greatest(clock_timestamp(), $10), $11, $12)
RETURNING at
"""


async def history(connection: "Connection", model: str) -> list[Deployment]:
    """Of one model, oldest first.

    Raises:
        UnknownModel: it is not registered.
    """
    await versions.model_id(connection, model)
    rows = await connection.fetch(f"{_SELECT} WHERE m.name = $1 ORDER BY d.sequence", model)
    return [_deployment(row) for row in rows]


async def live(connection: "Connection", tenant_id: "UUID", model: str) -> Live:
    """What serves it now; `sequence` 0: nothing was ever deployed. Raises as `history`."""
    name = await tenants.name_of(connection, tenant_id)
    return fold(name, model, await history(connection, model))


async def what_served(
    connection: "Connection", tenant_id: "UUID", at: datetime | None
) -> list[Live]:
    """The state of each model at a moment (now, if none), for those that had one."""
    name = await tenants.name_of(connection, tenant_id)
    rows = await connection.fetch(
        f"{_SELECT} WHERE d.at <= coalesce($1::timestamptz, 'infinity') "
        "ORDER BY m.name, d.sequence",
        at,
    )
    return [
        fold(name, model, map(_deployment, events)) for model, events in groupby(rows, _model_of)
    ]


async def record(
    connection: "Connection",
    tenant_id: "UUID",
    model: str,
    change: Change,
    tell: Tell = lambda _before, _after: (),
) -> Live:
    """Write a change into the history, and the record of the state after it into the outbox.

    With it go the events that `tell` makes of the states before and after. A change whose
    `command_id` is in the history already is not made, or told, again: the state after it.

    Raises:
        UnknownModel: no such model, or no such version.
        DeploymentRefused: the change makes no sense now, or its version has no verified artifact.
    """
    await _lock(connection, tenant_id, model)
    events = await history(connection, model)
    name = await tenants.name_of(connection, tenant_id)
    done = [event.sequence for event in events if _is(event, change)]
    if done:
        return fold(name, model, events[: done[0]])
    now = fold(name, model, events)
    if change.judges is not None and (now.watch is None or now.watch.sequence != change.judges):
        raise DeploymentRefused(f"{model}: the watch that event {change.judges} opened is over")
    state = after(now, await _add(connection, tenant_id, events, now, change))
    tiers = await _tiers(connection, state)
    said = states.model_state(state, tiers, change.command_id or uuid4().hex)
    await outbox.add(connection, tenant_id, STATE, key(name, model), encode_state(said))
    for event in tell(now, state):
        await outbox.add(connection, tenant_id, EVENTS, key(name, model), encode_event(event))
    return state


async def recompile(
    connection: "Connection", tenant_id: "UUID", model: str, change: Change
) -> Live | None:
    """Tell nodes what a version runs with now; a part of the transaction that has added its artifacts.

    None: the state does not name it, or it serves, and has no verified tier left but those that nodes
    have: nothing to tell. Raises as `record`.
    """
    await _lock(connection, tenant_id, model)
    now = await live(connection, tenant_id, model)
    named = {one.version for one in (now.serving, now.candidate, now.previous) if one}
    if change.version not in named:
        return None
    serves = now.serving is not None and now.serving.version == change.version
    if serves and not await _verified(connection, model, change.version):
        return None
    return await record(connection, tenant_id, model, change)


async def _lock(connection: "Connection", tenant_id: "UUID", model: str) -> None:
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{tenant_id}/{model}"
    )


async def _tiers(connection: "Connection", live: Live) -> dict[str, states.Tiers]:
    """Of each version that the state names.

    What serves keeps the tiers that it was deployed with where newer reports reject them all: nobody
    would answer otherwise, whatever the change was about.
    """
    placed = {one.version for one in (live.serving, live.candidate, live.previous) if one}
    tiers = {
        version: await _verified(connection, live.model, version) for version in sorted(placed)
    }
    if live.serving and not tiers[live.serving.version]:
        was = await artifacts.newest(connection, live.model, live.serving.version, verified=True)
        tiers[live.serving.version] = states.tiers_of(was)
    return tiers


async def _verified(connection: "Connection", model: str, version: str) -> states.Tiers:
    return states.tiers_of(await artifacts.newest(connection, model, version))


# What a change is judged by comes one by one.
async def _add(
    connection: "Connection",
    tenant_id: "UUID",
    past: Sequence[Deployment],
    now: Live,
    change: Change,
) -> Deployment:
    """The event that a change makes of this state; it is in the history then."""
    chosen = target(now, change)
    version = None if chosen is None else await versions.version(connection, now.model, chosen)
    if version is not None and change.action == "rollback":
        require_served(past, change, now.model, version.version)
    if version is not None and change.action not in _OF_WHAT_IS_THERE:
        if not await _verified(connection, now.model, version.version):
            raise DeploymentRefused(
                f"{change.action} {now.model} {version.version}: no tier of it is verified; "
                "compile it first"
            )
        if takes_over(now, change, version.version):
            await replays.require(connection, version, change.action)
    event = Deployment(
        sequence=now.sequence + 1,
        action=change.action,
        placed=None if version is None else Placed(version.version, version.digest),
        weight=change.weight,
        actor=change.actor,
        reason=change.reason,
        at=now.at or _EPOCH,  # the server's clock has the last word, but time never runs back
        command_id=change.command_id,
        watch=change.watch,
        share=change.share,
    )
    at = await connection.fetchval(
        _INSERT,
        tenant_id,
        await versions.model_id(connection, now.model),
        event.sequence,
        event.action,
        None if version is None else version.id,
        event.weight,
        event.actor,
        event.reason,
        event.command_id,
        event.at,
        None if event.watch is None else msgspec.json.encode(event.watch).decode(),
        event.share,
    )
    return msgspec.structs.replace(event, at=at)


def _is(event: Deployment, change: Change) -> bool:
    return change.command_id is not None and event.command_id == change.command_id


def _model_of(row: "Record") -> str:
    return str(row[0])


def _deployment(row: "Record") -> Deployment:
    _, sequence, action, version, sha256, weight, *rest, watch, share = row
    placed = None if version is None else Placed(version, sha256)
    rest += [None if watch is None else _WATCH.decode(watch), share]
    return Deployment(sequence, action, placed, weight, *rest)
