"""Revisions go up and down, and what is up is always the same: pg_dump says so."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from chimera.cli.postgres.cluster import programs
from chimera.cli.postgres.config import APPLICATION
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.deployments import Change
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.model_commands import WatchPolicy
from chimera.stores import schema
from chimera.stores.migrations import HEAD
from chimera.stores.postgres import Database
from chimera.stores.registry import training_runs
from chimera.stores.registry.training_positions import TrainingPositions
from tests.stores.places import compiled, connected, opened
from tests.stores.registry.test_isolation import RUN


@pytest.fixture(scope="module")
def bare() -> Iterator[EmbeddedPostgres]:
    """A server without tables; each test leaves it so."""
    with EmbeddedPostgres() as started:
        yield started


def up(server: EmbeddedPostgres, revision: str = "head") -> None:
    asyncio.run(schema.upgrade(server.owner_dsn, APPLICATION, revision))


def down(server: EmbeddedPostgres, revision: str = "base") -> None:
    asyncio.run(schema.downgrade(server.owner_dsn, APPLICATION, revision))


def dump(server: EmbeddedPostgres) -> str:
    """The whole schema as Postgres writes it, without the token that differs each time."""
    parts = urlsplit(server.owner_dsn)
    command = [str(programs() / "pg_dump"), "--schema-only", "-h", "127.0.0.1", "-p"]
    done = subprocess.run(
        [*command, str(parts.port), "-U", str(parts.username), "chimera"],
        env={**os.environ, "PGPASSWORD": str(parts.password)},
        check=True,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    return "\n".join(line for line in lines if "restrict" not in line.split(" ")[0])


def test_each_revision_goes_down_and_up_to_the_same_schema(bare: EmbeddedPostgres) -> None:
    up(bare, "+1")
    seen: list[str] = []
    while True:
        before = dump(bare)
        down(bare, "-1")
        up(bare, "+1")
        assert dump(bare) == before
        assert before not in seen
        seen.append(before)
        if asyncio.run(schema.current(bare.owner_dsn)) == schema.head():
            break
        up(bare, "+1")
    assert "CREATE TABLE public.deployments" in seen[-1]
    down(bare)


def test_downgrade_to_base_leaves_no_table_of_ours(bare: EmbeddedPostgres) -> None:
    up(bare)
    down(bare)
    assert asyncio.run(schema.current(bare.owner_dsn)) is None
    made = [line for line in dump(bare).splitlines() if line.startswith("CREATE")]
    assert made == ["CREATE TABLE public.alembic_version ("]


async def left(bare: EmbeddedPostgres) -> list[tuple[str, int]]:
    """Of the history of all tenants, after a downgrade."""
    async with connected(bare.owner_dsn) as owner:
        await owner.execute("ALTER TABLE deployments NO FORCE ROW LEVEL SECURITY")
        rows = await owner.fetch("SELECT action, weight FROM deployments ORDER BY sequence")
    return [(row[0], row[1]) for row in rows]


def test_downgrade_below_watches_keeps_what_serves(bare: EmbeddedPostgres) -> None:
    """What was kept is deployed once more there; without its policy, and what follows is the same."""

    async def deploy() -> list[tuple[str, int]]:
        async with opened(bare) as place:
            for version in ("1", "2", "3"):
                await compiled(place.registry, version=version)
            record = place.registry.record_deployment
            await record("digits", Change("deploy", "ada", version="1"))
            for weight, version in ((100, "2"), (10, "3")):
                change = Change("deploy", "ada", "", version, weight, watch=WatchPolicy())
                watch = (await record("digits", change)).watch
                assert watch is not None
                await record(
                    "digits", Change("keep", "us", "", version, weight, judges=watch.sequence)
                )
            history = await place.registry.history("digits")
        return [(one.action, one.weight) for one in history]

    up(bare)
    opening = [("deploy", 100), ("deploy", 100)]
    assert asyncio.run(deploy()) == [*opening, ("keep", 100), ("deploy", 10), ("keep", 10)]
    down(bare, "0001")
    assert asyncio.run(left(bare)) == [*opening, ("promote", 100), ("deploy", 10), ("deploy", 10)]
    down(bare)


def test_downgrade_below_recompiles_leaves_what_is_paused_paused(bare: EmbeddedPostgres) -> None:
    async def deploy() -> None:
        async with opened(bare) as place:
            await compiled(place.registry)
            for action in ("deploy", "recompile", "pause", "recompile"):
                version = None if action == "pause" else "1"
                change = Change(action, "ada", version=version)
                await place.registry.record_deployment("digits", change)

    up(bare)
    asyncio.run(deploy())
    down(bare, "0006")
    assert [one[0] for one in asyncio.run(left(bare))] == ["deploy", "resume", "pause", "pause"]
    down(bare)


def test_downgrade_below_taken_triggers_keeps_runs_and_who_cancelled_them(
    bare: EmbeddedPostgres,
) -> None:
    async def cancel() -> None:
        async with opened(bare) as place:
            async with place.database.tenant(place.tenant.id) as connection:
                await training_runs.add(connection, place.tenant.id, RUN)
                await training_runs.cancel(connection, RUN.run_id, "ada", "c-1")
            await TrainingPositions(place.database).keep("topic", 7)

    async def left() -> list[tuple[str, str]]:
        async with connected(bare.owner_dsn) as owner:
            await owner.execute("ALTER TABLE training_runs NO FORCE ROW LEVEL SECURITY")
            rows = await owner.fetch("SELECT run_id, last_trigger_id FROM training_runs")
            await owner.execute("ALTER TABLE training_runs FORCE ROW LEVEL SECURITY")
        return [(row[0], row[1]) for row in rows]

    up(bare)
    asyncio.run(cancel())
    down(bare, "0008")
    assert asyncio.run(left()) == [(RUN.run_id, "c-1")]
    up(bare)
    asyncio.run(resume_once(bare))
    down(bare)


async def resume_once(server: EmbeddedPostgres) -> None:
    """What was cancelled before the tables were made is not cancelled again by the same trigger."""
    async with connected(server.owner_dsn) as owner:
        await owner.execute("ALTER TABLE training_runs NO FORCE ROW LEVEL SECURITY")
        tenant_id = await owner.fetchval("SELECT tenant_id FROM training_runs")
        await owner.execute("ALTER TABLE training_runs FORCE ROW LEVEL SECURITY")
    async with Database(server.dsn) as database, database.tenant(tenant_id) as connection:
        assert await training_runs.cancel(connection, RUN.run_id, "ada", "c-1") is None
        assert await training_runs.resume(connection, RUN.run_id, "r-1") is not None


UPGRADE = """
import asyncio, sys
from chimera.stores import schema
asyncio.run(schema.upgrade(sys.argv[1], sys.argv[2]))
"""


def test_upgrade_of_two_processes_at_once_is_the_same_as_one(bare: EmbeddedPostgres) -> None:
    command = [sys.executable, "-c", UPGRADE, bare.owner_dsn, APPLICATION]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [one.wait(60) for one in both] == [0, 0]
    assert asyncio.run(schema.current(bare.owner_dsn)) == HEAD
    down(bare)


def test_head_is_what_this_release_needs() -> None:
    assert schema.head() == HEAD


def test_upgrade_to_a_revision_that_is_not_there_is_refused(bare: EmbeddedPostgres) -> None:
    with pytest.raises(ConfigurationError, match="nothing"):
        up(bare, "nothing")


def test_upgrade_as_a_role_without_the_right_is_refused(bare: EmbeddedPostgres) -> None:
    with pytest.raises(ConfigurationError, match="OWNER_DSN.*permission denied"):
        asyncio.run(schema.upgrade(bare.dsn, APPLICATION))


def test_start_without_tables_says_what_to_do(bare: EmbeddedPostgres) -> None:
    async def start() -> None:
        async with Database(bare.dsn):
            pass

    with pytest.raises(ConfigurationError, match="no tables.*chimera db upgrade"):
        asyncio.run(start())


def test_start_on_tables_of_another_release_says_what_to_do(bare: EmbeddedPostgres) -> None:
    async def start() -> None:
        async with connected(bare.owner_dsn) as owner:
            await owner.execute("UPDATE alembic_version SET version_num = '9999'")
        try:
            async with Database(bare.dsn):
                pass
        finally:
            async with connected(bare.owner_dsn) as owner:
                await owner.execute(f"UPDATE alembic_version SET version_num = '{HEAD}'")

    up(bare)
    with pytest.raises(ConfigurationError, match=f"revision 9999.*needs {HEAD}"):
        asyncio.run(start())
    down(bare)


def test_every_table_is_bound_by_row_level_security_also_for_its_owner(
    server: EmbeddedPostgres,
) -> None:
    async def loose() -> list[str]:
        async with connected(server.owner_dsn) as owner:
            rows = await owner.fetch(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
                "AND relkind IN ('r', 'p') AND NOT (relrowsecurity AND relforcerowsecurity)"
            )
        return [row[0] for row in rows]

    assert asyncio.run(loose()) == ["alembic_version"]


def test_every_view_asks_with_the_rights_of_who_asks(server: EmbeddedPostgres) -> None:
    async def views() -> list[asyncpg.Record]:
        async with connected(server.owner_dsn) as owner:
            return await owner.fetch(
                "SELECT relname, 'security_invoker=true' = ANY(reloptions) AS invoker "
                "FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'"
            )

    found = asyncio.run(views())
    assert [(row["relname"], row["invoker"]) for row in found] == [("deployment_history", True)]


def test_every_key_that_a_tenant_can_probe_begins_with_the_tenant(
    server: EmbeddedPostgres,
) -> None:
    """A unique index over all tenants would tell one what another has."""

    async def keys() -> list[tuple[str, str]]:
        async with connected(server.owner_dsn) as owner:
            rows = await owner.fetch(
                "SELECT c.relname, a.attname FROM pg_index i "
                "JOIN pg_class c ON c.oid = i.indrelid "
                "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] "
                "WHERE c.relnamespace = 'public'::regnamespace AND i.indisunique"
            )
        return sorted({(row[0], row[1]) for row in rows if row[1] != "tenant_id"})

    platform = [("alembic_version", "version_num"), ("outbox", "id")]
    tenants = [("tenants", "id"), ("tenants", "name")]
    unseen = [("training_positions", "topic_id")]  # by any tenant, which cannot write there either
    assert asyncio.run(keys()) == [*platform, *tenants, *unseen]
