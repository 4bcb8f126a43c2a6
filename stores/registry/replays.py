"""Replays: reports of recorded requests through a version, and what a promotion may require of them.

Reports are kept; the newest that was decided counts. Functions over a tenant's transaction, as in
`versions`. `tests/stores/registry/test_replays.py`.
"""

from typing import TYPE_CHECKING

from chimera.schemas import replay_report
from chimera.schemas.errors import DeploymentRefused, SchemaInvalid
from chimera.schemas.promotion_policy import PromotionPolicy, lacking, policy_name, policy_of
from chimera.schemas.replay_report import ReplayReport
from chimera.stores.registry import policies, versions
from chimera.stores.registry.records import Replay, Version

if TYPE_CHECKING:
    from uuid import UUID

    from chimera.stores.postgres import Connection

_INSERT = """
INSERT INTO replays (tenant_id, version_id, verdict, report, made_by) VALUES ($1, $2, $3, $4, $5)
"""
_NEWEST = """
SELECT report, made_at, made_by,
       extract(epoch FROM clock_timestamp() - made_at)::double precision
FROM replays WHERE version_id = $1 AND ($2 OR verdict <> 'undecided')
ORDER BY made_at DESC LIMIT 1
"""


async def add(
    connection: "Connection", tenant_id: "UUID", report: ReplayReport, actor: str
) -> None:
    """Write a report down.

    Raises:
        UnknownModel: no such model, or no such version.
        SchemaInvalid: the version that is registered under that name has another digest.
    """
    found = await versions.version(connection, report.model, report.version)
    if found.digest != report.sha256:
        raise SchemaInvalid(
            f"replay report: {report.model} {report.version} is {found.digest}, not {report.sha256}"
        )
    text = replay_report.encode(report).decode()
    await connection.execute(_INSERT, tenant_id, found.id, report.verdict, text, actor)


async def newest(
    connection: "Connection", version: Version, *, undecided: bool = True
) -> Replay | None:
    """The latest of a version; without `undecided` the latest that was decided.

    Raises:
        SchemaInvalid: a report of a form that this release does not know.
    """
    row = await connection.fetchrow(_NEWEST, version.id, undecided)
    if row is None:
        return None
    report, made_at, made_by, age_s = row
    return Replay(replay_report.decode(report), made_at, made_by, age_s)


async def policy(connection: "Connection", model: str) -> PromotionPolicy:
    """Of a model; one that bars nothing where none was set. Raises SchemaInvalid: not to be read."""
    found = await policies.find(connection, policy_name(model))
    return PromotionPolicy() if found is None else policy_of(found.body)


async def lacks(connection: "Connection", version: Version) -> str:
    """What a version lacks to answer all of its model's requests, by its policy; empty: nothing."""
    try:
        wanted = await policy(connection, version.model)
        if wanted.requires_replay is None:
            return ""
        found = await newest(connection, version, undecided=False)
        report, age_s = (None, 0.0) if found is None else (found.report, found.age_s)
        return lacking(wanted, report, age_s)
    except SchemaInvalid as error:
        return str(error)


async def require(connection: "Connection", version: Version, action: str) -> None:
    """Let a version answer all of its model's requests only if its policy does.

    Raises:
        DeploymentRefused: it lacks a replay that passed; says what to do.
    """
    if why := await lacks(connection, version):
        raise DeploymentRefused(
            f"{action} {version.model} {version.version}: {why}; "
            f"`chimera models replay {version.model} {version.version} --since 1h`"
        )
