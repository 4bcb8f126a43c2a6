"""Training runs of one tenant: a queue with leases, and what came of each.

    queued ── claim ── running ─┬─ finished ── register, compile, (replay,) promote ── released, or withheld
      ▴                │        ├─ failed ────┐
      └── given back ──┴        └─ cancelled ─┴── resumed: queued again

A claim counts an attempt, and whoever holds the run writes with that number: one that lost its lease
changes nothing any more. A lease that has run out, by the server's clock, is anybody's. Functions over a
tenant's transaction, as in `versions`, so that what is told of a change goes with it into the outbox.
`tests/stores/registry/test_training_runs.py`.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from chimera.schemas.errors import TrainingRefused
from chimera.schemas.training_manifest import TrainingManifest, decode_manifest, encode_manifest

if TYPE_CHECKING:
    from uuid import UUID

    from asyncpg import Record

    from chimera.stores.postgres import Connection

State = Literal["queued", "running", "finished", "failed", "cancelled"]
Until = Literal["registered", "compiled", "promoted"]
Stage = Literal["register", "compile", "replay", "promote", "released", "withheld"]

_COLUMNS = (
    "run_id, trigger_id, trigger, model, actor, reason, priority, config, until, state, attempt, "
    "fruitless, device, progress, error, manifest, cancelled_by, last_trigger_id, stage, queued_at, "
    "started_at, ended_at"
)
_INSERT = """
INSERT INTO training_runs
    (tenant_id, run_id, trigger_id, trigger, model, actor, reason, priority, config, until)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT DO NOTHING
"""
_WAITS = "(state = 'queued' OR (state = 'running' AND lease_until < clock_timestamp()))"
_LEASE = "lease_until = clock_timestamp() + make_interval(secs => $2)"
_CLAIM = f"""
UPDATE training_runs SET state = 'running', attempt = attempt + 1, lease_owner = $1, {_LEASE},
    device = $3, started_at = coalesce(started_at, clock_timestamp()), ended_at = NULL
WHERE id = (SELECT id FROM training_runs WHERE {_WAITS}
            ORDER BY priority, queued_at, run_id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING {_COLUMNS}
"""
_BEAT = f"""
UPDATE training_runs SET {_LEASE}, progress = coalesce($4, progress), fruitless = $5
WHERE run_id = $1 AND attempt = $3 AND state = 'running' RETURNING coalesce(cancelled_by, '')
"""
_END = """
UPDATE training_runs SET state = $3, error = $4, manifest = $5, stage = $6, lease_owner = NULL,
    lease_until = NULL, ended_at = clock_timestamp()
WHERE run_id = $1 AND attempt = $2 AND state = 'running' RETURNING run_id
"""
_GIVE_BACK = """
UPDATE training_runs SET state = 'queued', fruitless = $3, lease_owner = NULL, lease_until = NULL
WHERE run_id = $1 AND attempt = $2 AND state = 'running' RETURNING run_id
"""
_CANCEL = """
UPDATE training_runs SET cancelled_by = $2, last_trigger_id = $3,
    state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END,
    ended_at = CASE state WHEN 'queued' THEN clock_timestamp() ELSE ended_at END
WHERE run_id = $1 AND state IN ('queued', 'running')
"""
_REMEMBER = """
INSERT INTO training_changes (tenant_id, trigger_id, run_id, action)
SELECT tenant_id, $2, run_id, $3 FROM training_runs WHERE run_id = $1
"""
_RESUME = """
UPDATE training_runs SET state = 'queued', cancelled_by = NULL, error = NULL, fruitless = 0,
    stage = NULL, ended_at = NULL, last_trigger_id = $2
WHERE run_id = $1
"""


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a trigger orders."""

    run_id: str
    trigger_id: str
    trigger: str  # as JSON
    model: str
    actor: str
    reason: str
    priority: int
    config: str  # as JSON
    until: Until


class TrainingRun(NewRun, frozen=True, kw_only=True):
    """With what became of it."""

    state: State
    attempt: int
    fruitless: int  # attempts in a row that left no new checkpoint
    device: str | None
    progress: str | None  # the last event of it, as JSON
    error: str | None
    manifest: TrainingManifest | None
    cancelled_by: str | None
    last_trigger_id: str | None  # that cancelled or resumed it; `training_changes` has all
    stage: Stage | None
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class Waiting(NamedTuple):
    """Runs of one tenant that wait: the first of them, and how many they are."""

    priority: int
    queued_at: datetime
    runs: int


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended a run."""

    state: Literal["finished", "failed", "cancelled"]
    error: str | None = None
    manifest: TrainingManifest | None = None
    stage: Stage | None = None


async def add(connection: "Connection", tenant_id: "UUID", run: NewRun) -> bool:
    """Write it down; False: it stands there already.

    Raises:
        TrainingRefused: another order stands there under the trigger's id.
    """
    fields = msgspec.structs.astuple(run)
    if await connection.execute(_INSERT, tenant_id, *fields) == "INSERT 0 1":
        return True
    found = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM training_runs WHERE trigger_id = $1", run.trigger_id
    )
    if found is None or found["trigger"] != run.trigger:
        raise TrainingRefused(f"trigger {run.trigger_id} has ordered another run before")
    return False


async def find(connection: "Connection", run_id: str) -> TrainingRun | None:
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM training_runs WHERE run_id = $1", run_id
    )
    return None if row is None else _run(row)


async def newest(connection: "Connection", limit: int = 100) -> list[TrainingRun]:
    """The last that were ordered, newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM training_runs ORDER BY queued_at DESC, run_id LIMIT $1", limit
    )
    return [_run(row) for row in rows]


async def waiting(connection: "Connection") -> Waiting | None:
    """What this tenant would have next (less goes first); None: nothing."""
    row = await connection.fetchrow(
        f"SELECT priority, queued_at, count(*) OVER () FROM training_runs WHERE {_WAITS} "
        "ORDER BY priority, queued_at, run_id LIMIT 1"
    )
    return None if row is None else Waiting(*row)


async def first_to_replay(connection: "Connection") -> TrainingRun | None:
    """The finished run of this tenant that has waited longest for its version's replay."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM training_runs WHERE stage = 'replay' "
        "ORDER BY ended_at, run_id LIMIT 1"
    )
    return None if row is None else _run(row)


async def claim(
    connection: "Connection", owner: str, lease_s: float, device: str
) -> TrainingRun | None:
    """Take the first that waits; None: nobody waits, or somebody else was faster."""
    row = await connection.fetchrow(_CLAIM, owner, lease_s, device)
    return None if row is None else _run(row)


async def beat(
    connection: "Connection", run: TrainingRun, lease_s: float, progress: str | None, fruitless: int
) -> str | None:
    """Hold it for longer; who has cancelled it (empty: nobody), or None: the lease is lost."""
    found: str | None = await connection.fetchval(
        _BEAT, run.run_id, lease_s, run.attempt, progress, fruitless
    )
    return found


async def end(connection: "Connection", run: TrainingRun, ending: Ending) -> bool:
    """False: the lease is lost, and nothing was changed."""
    said = None if ending.manifest is None else encode_manifest(ending.manifest).decode()
    return bool(
        await connection.fetchval(
            _END, run.run_id, run.attempt, ending.state, ending.error, said, ending.stage
        )
    )


async def give_back(connection: "Connection", run: TrainingRun, fruitless: int) -> bool:
    """Queue it again, at its old place. False as `end`."""
    return bool(await connection.fetchval(_GIVE_BACK, run.run_id, run.attempt, fruitless))


async def cancel(
    connection: "Connection", run_id: str, actor: str, trigger_id: str
) -> TrainingRun | None:
    """The run as it is now: cancelled, or to be; None: that trigger has done it before.

    Raises:
        TrainingRefused: there is none, or it has ended, or the trigger has done something else.
    """
    run = await _locked(connection, run_id)
    if await _is_taken(connection, run, trigger_id, "cancel"):
        return None
    if run.state not in ("queued", "running"):
        raise TrainingRefused(f"run {run_id} has {run.state}: there is nothing to cancel")
    await connection.execute(_CANCEL, run_id, actor, trigger_id)
    await connection.execute(_REMEMBER, run_id, trigger_id, "cancel")
    return await _locked(connection, run_id)


async def resume(connection: "Connection", run_id: str, trigger_id: str) -> TrainingRun | None:
    """The run, queued again; None: that trigger has done it before.

    Raises:
        TrainingRefused: there is none, or it goes on already, or it is finished and released, or
            the trigger has done something else.
    """
    run = await _locked(connection, run_id)
    if await _is_taken(connection, run, trigger_id, "resume"):
        return None
    is_over = run.state in ("failed", "cancelled")
    if not is_over and not (run.state == "finished" and run.stage == "withheld"):
        raise TrainingRefused(f"run {run_id} is {run.state}: there is nothing to resume")
    await connection.execute(_RESUME, run_id, trigger_id)
    await connection.execute(_REMEMBER, run_id, trigger_id, "resume")
    return await _locked(connection, run_id)


async def advance(
    connection: "Connection", run_id: str, before: Stage, after: Stage, error: str | None = None
) -> bool:
    """The next step of a finished run's release; False: it was taken before."""
    found = await connection.fetchval(
        "UPDATE training_runs SET stage = $3, error = $4 "
        "WHERE run_id = $1 AND state = 'finished' AND stage = $2 RETURNING run_id",
        run_id,
        before,
        after,
        error,
    )
    return found is not None


async def _is_taken(
    connection: "Connection", run: TrainingRun, trigger_id: str, action: str
) -> bool:
    """Whether a trigger has done this before, however much was done since."""
    found = await connection.fetchrow(
        "SELECT run_id, action FROM training_changes WHERE trigger_id = $1", trigger_id
    )
    if found is None:
        return run.last_trigger_id == trigger_id  # as the release before has written it
    if tuple(found) != (run.run_id, action):
        raise TrainingRefused(f"trigger {trigger_id} was to {found[1]} run {found[0]} before")
    return True


async def _locked(connection: "Connection", run_id: str) -> TrainingRun:
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM training_runs WHERE run_id = $1 FOR UPDATE", run_id
    )
    if row is None:
        raise TrainingRefused(f"there is no run {run_id}")
    return _run(row)


def _run(row: "Record") -> TrainingRun:
    fields = dict(row)
    if fields["manifest"] is not None:
        fields["manifest"] = decode_manifest(fields["manifest"].encode())
    return TrainingRun(**fields)
