"""Training policies of one tenant: orders that come due again and again, and fire once an occasion.

    schedule   due each interval; of several times that were missed, the last one fires
    drift      due when a run of its model finds other data, or served rows are others than those that
               its last run has learnt from, but not within an interval of a firing
    due ── fired (the next time, and the occasion that it fired for, in one statement)

One setting of a policy is one row, under the id of the trigger that set it; another setting of the
name, or a removal, ends it. Functions over a tenant's transaction, as in `versions`.
`tests/stores/registry/test_training_policies.py`.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from chimera.schemas.errors import TrainingRefused

if TYPE_CHECKING:
    from uuid import UUID

    from asyncpg import Record

    from chimera.stores.postgres import Connection

Cause = Literal["drift", "schedule"]
SERVED = "served:"  # before the run: no run's id has a colon

_COLUMNS = (
    "name, trigger_id, trigger, model, actor, cause, interval_s, set_at, due_at, alert, fired_at, "
    "firings, last_trigger_id"
)
_INSERT = """
INSERT INTO training_policies
    (tenant_id, name, trigger_id, trigger, model, actor, cause, interval_s, due_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8::integer,
    CASE WHEN $7 = 'schedule' THEN clock_timestamp() + make_interval(secs => $8::integer) END)
"""
_END = """
UPDATE training_policies SET ended_at = clock_timestamp(), ended_by = $2, ended_trigger_id = $3
WHERE name = $1 AND ended_at IS NULL
"""
_ALERT = """
UPDATE training_policies SET alert = $2,
    due_at = greatest(clock_timestamp(), fired_at + make_interval(secs => interval_s))
WHERE model = $1 AND cause = 'drift' AND ended_at IS NULL AND alert IS NULL
    AND occasion IS DISTINCT FROM $2
"""
_ALERT_SERVED = """
UPDATE training_policies SET alert = $2,
    due_at = greatest(clock_timestamp(), fired_at + make_interval(secs => interval_s))
WHERE trigger_id = $1 AND ended_at IS NULL AND alert IS NULL AND occasion IS DISTINCT FROM $2
RETURNING name
"""
_FIRED = """
UPDATE training_policies SET fired_at = clock_timestamp(), occasion = $3, last_trigger_id = $4,
    due_at = $5, alert = NULL, firings = firings + 1
WHERE trigger_id = $1 AND due_at = $2 AND ended_at IS NULL RETURNING name
"""


class NewPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a trigger sets."""

    name: str
    trigger_id: str  # that has set it
    trigger: str  # as JSON
    model: str
    actor: str
    cause: Cause
    interval_s: int  # from one firing to the next, or at least


class TrainingPolicy(NewPolicy, frozen=True, kw_only=True):
    """With what became of it."""

    set_at: datetime
    due_at: datetime | None  # none: its data have not drifted
    alert: (
        str | None
    )  # the run that found the drift which it is due for; `served_after` one: rows did
    fired_at: datetime | None
    firings: int
    last_trigger_id: str | None  # of what it ordered last


class Firing(msgspec.Struct, frozen=True):
    """What a policy that is due fires for, and when it is due next."""

    occasion: str
    next_due: datetime | None


def firing(policy: TrainingPolicy, now: datetime) -> Firing | None:
    """None: it is not due."""
    due = policy.due_at
    if due is None or due > now:
        return None
    if policy.cause == "drift":
        return Firing(policy.alert or "", None)
    interval = timedelta(seconds=policy.interval_s)
    last = due + (now - due) // interval * interval
    return Firing(last.isoformat(timespec="milliseconds"), last + interval)


async def put(connection: "Connection", tenant_id: "UUID", policy: NewPolicy) -> bool:
    """Set it, over the one before of its name; False: this trigger has done so already.

    Raises:
        TrainingRefused: another order stands there under the trigger's id.
    """
    fields = msgspec.structs.astuple(policy)
    found = await connection.fetchval(
        "SELECT trigger FROM training_policies WHERE trigger_id = $1", policy.trigger_id
    )
    if found is not None:
        if found != policy.trigger:
            raise TrainingRefused(f"trigger {policy.trigger_id} has set another policy before")
        return False
    await connection.execute(_END, policy.name, policy.actor, policy.trigger_id)
    await connection.execute(_INSERT, tenant_id, *fields)
    return True


async def remove(
    connection: "Connection", name: str, actor: str, trigger_id: str
) -> TrainingPolicy | None:
    """The policy that fires no more; None: that trigger has removed it before.

    Raises:
        TrainingRefused: there is none.
    """
    if await connection.fetchval(
        "SELECT 1 FROM training_policies WHERE ended_trigger_id = $1", trigger_id
    ):
        return None
    found = await find(connection, name)
    if found is None:
        raise TrainingRefused(f"there is no policy {name}")
    await connection.execute(_END, name, actor, trigger_id)
    return found


async def find(connection: "Connection", name: str) -> TrainingPolicy | None:
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM training_policies WHERE name = $1 AND ended_at IS NULL", name
    )
    return None if row is None else _policy(row)


async def every(connection: "Connection") -> list[TrainingPolicy]:
    """All that may fire, by their names."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM training_policies WHERE ended_at IS NULL ORDER BY name"
    )
    return [_policy(row) for row in rows]


async def watching(connection: "Connection") -> list[TrainingPolicy]:
    """All on drift that none was found for yet."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM training_policies WHERE ended_at IS NULL AND cause = 'drift' "
        "AND alert IS NULL ORDER BY name"
    )
    return [_policy(row) for row in rows]


async def due(connection: "Connection", now: datetime) -> list[TrainingPolicy]:
    """All whose time has come, the first first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM training_policies WHERE ended_at IS NULL AND due_at <= $1 "
        "ORDER BY due_at, name",
        now,
    )
    return [_policy(row) for row in rows]


async def alert(connection: "Connection", model: str, run_id: str) -> None:
    """A run has found that the model's data have drifted; a policy that is due stays due for the first."""
    await connection.execute(_ALERT, model, run_id)


def served_after(run_id: str) -> str:
    """The occasion that served rows are others than a run has learnt from: one for each run."""
    return f"{SERVED}{run_id}"


async def alert_served(connection: "Connection", policy: TrainingPolicy, run_id: str) -> bool:
    """Served rows of a policy's model are not those of its last run; False: it is due, or has fired for that."""
    name = await connection.fetchval(_ALERT_SERVED, policy.trigger_id, served_after(run_id))
    return name is not None


async def fired(
    connection: "Connection", policy: TrainingPolicy, found: Firing, trigger_id: str
) -> bool:
    """Write a firing down; False: it was fired, set anew or removed meanwhile."""
    name = await connection.fetchval(
        _FIRED, policy.trigger_id, policy.due_at, found.occasion, trigger_id, found.next_due
    )
    return name is not None


def _policy(row: "Record") -> TrainingPolicy:
    return TrainingPolicy(**dict(row))
