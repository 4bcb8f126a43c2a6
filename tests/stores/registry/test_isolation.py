"""Another tenant sees nothing, learns nothing, and changes nothing; the pool carries nothing over."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from msgspec import structs

from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.deployments import Change
from chimera.schemas.errors import ConfigurationError, UnknownModel
from chimera.schemas.replay_report import ReplayReport
from chimera.stores.registry import training_policies, training_runs
from chimera.stores.registry.records import Artifact
from chimera.stores.registry.registry import Registry
from chimera.stores.registry.training_policies import NewPolicy
from chimera.stores.registry.training_positions import TrainingPositions
from chimera.stores.registry.training_runs import NewRun
from tests.schemas.test_replay_report import REPORT
from tests.stores.places import ONE_CONNECTION, Place, compiled, connected, opened, register

OF_A_TENANT = (
    "models",
    "versions",
    "artifacts",
    "deployments",
    "policies",
    "replays",
    "training_runs",
    "training_policies",
    "training_changes",
)
ARTIFACT = Artifact("onnx-cpu", "fp32", "x86-64", "skipped", "not tried")
RUN = NewRun(
    run_id="digits-1",
    trigger_id="t-1",
    trigger="{}",
    model="digits",
    actor="test",
    reason="manual",
    priority=5,
    config="{}",
    until="registered",
)
POLICY = NewPolicy(
    name="nightly",
    trigger_id="t-2",
    trigger="{}",
    model="digits",
    actor="test",
    cause="schedule",
    interval_s=60,
)
DEPLOY = Change("deploy", "test", version="1")


async def fill(place: Place) -> None:
    """Something in every table."""
    await compiled(place.registry)
    await place.registry.record_deployment("digits", DEPLOY)
    await place.registry.put_policy("canary", {"errors": 0.01}, actor="test")
    await place.registry.add_replay(await report(place.registry), actor="test")
    async with place.database.tenant(place.tenant.id) as connection:
        await training_runs.add(connection, place.tenant.id, RUN)
        await training_policies.put(connection, place.tenant.id, POLICY)
        await training_runs.cancel(connection, RUN.run_id, "test", "t-3")


async def report(registry: Registry) -> ReplayReport:
    found = await registry.version("digits", "1")
    return structs.replace(REPORT, version="1", sha256=found.digest)


async def beside(server: EmbeddedPostgres, work: Callable[[Place, Place], Awaitable[None]]) -> None:
    """`work` on a tenant that has something, and on another; both use the same single connection."""
    async with opened(server, ONE_CONNECTION) as owner:
        await fill(owner)
        await work(owner, await owner.another())


CALLS: dict[str, Callable[[Registry], Awaitable[Any]]] = {
    "versions": lambda registry: registry.versions("digits"),
    "version": lambda registry: registry.version("digits", "1"),
    "artifacts": lambda registry: registry.artifacts("digits", "1"),
    "add_artifact": lambda registry: registry.add_artifact("digits", "1", ARTIFACT),
    "record_deployment": lambda registry: registry.record_deployment("digits", DEPLOY),
    "live": lambda registry: registry.live("digits"),
    "history": lambda registry: registry.history("digits"),
    "add_replay": lambda registry: registry.add_replay(REPORT, actor="test"),
    "replay": lambda registry: registry.replay("digits", "1"),
    "promotion_policy": lambda registry: registry.promotion_policy("digits"),
}
EMPTY: dict[str, Callable[[Registry], Awaitable[Any]]] = {
    "models": lambda registry: registry.models(),
    "what_served": lambda registry: registry.what_served(),
    "policy": lambda registry: registry.policy("canary"),
    "training_runs": lambda registry: registry.training_runs(),
    "training_run": lambda registry: registry.training_run("digits-1"),
    "training_policies": lambda registry: registry.training_policies(),
    "kept": lambda registry: registry.kept(0),
}
OTHERS = {"register", "put_policy"}  # write rows of one's own; tested below


def test_each_method_of_the_registry_is_tried_as_another_tenant() -> None:
    methods = {name for name in vars(Registry) if not name.startswith("_")}
    assert methods == {*CALLS, *EMPTY, *OTHERS}


@pytest.mark.parametrize("call", CALLS)
def test_what_another_tenant_has_is_unknown(server: EmbeddedPostgres, call: str) -> None:
    async def work(_: Place, stranger: Place) -> None:
        with pytest.raises(UnknownModel, match="no model digits is registered"):
            await CALLS[call](stranger.registry)

    asyncio.run(beside(server, work))


@pytest.mark.parametrize("call", EMPTY)
def test_lists_of_another_tenant_are_empty(server: EmbeddedPostgres, call: str) -> None:
    async def work(owner: Place, stranger: Place) -> None:
        assert await EMPTY[call](owner.registry)
        assert not await EMPTY[call](stranger.registry)

    asyncio.run(beside(server, work))


def test_the_same_names_are_free_for_another_tenant(server: EmbeddedPostgres) -> None:
    """No unique key tells that somebody else has the name, or the command's id."""
    command = Change("deploy", "test", version="1", command_id=uuid.uuid4().hex)

    async def work(owner: Place, stranger: Place) -> None:
        await fill(stranger)
        for place in (owner, stranger):
            assert (await place.registry.record_deployment("digits", command)).sequence == 2
        await stranger.registry.put_policy("canary", {"errors": 1}, actor="test")
        kept = await owner.registry.policy("canary")
        assert kept is not None
        assert kept.body == {"errors": 0.01}

    asyncio.run(beside(server, work))


@pytest.mark.parametrize("table", [*OF_A_TENANT, "deployment_history"])
def test_a_query_without_a_condition_shows_ones_own_rows_alone(
    server: EmbeddedPostgres, table: str
) -> None:
    async def work(owner: Place, stranger: Place) -> None:
        query = f"SELECT tenant_id FROM {table}"
        async with owner.database.tenant(owner.tenant.id) as connection:
            assert {row[0] for row in await connection.fetch(query)} == {owner.tenant.id}
        async with owner.database.tenant(stranger.tenant.id) as connection:
            assert await connection.fetch(query) == []
        async with owner.database.platform() as connection:
            assert await connection.fetch(query) == []

    asyncio.run(beside(server, work))


def test_a_tenant_sees_itself_among_tenants_and_no_outbox(server: EmbeddedPostgres) -> None:
    async def work(owner: Place, _: Place) -> None:
        async with owner.database.tenant(owner.tenant.id) as connection:
            names = await connection.fetch("SELECT name FROM tenants")
            assert [row[0] for row in names] == [owner.tenant.name]
            assert await connection.fetch("SELECT 1 FROM outbox") == []

    asyncio.run(beside(server, work))


WRITES = {
    "models": "INSERT INTO models (tenant_id, name) VALUES ($1, 'theirs')",
    "policies": (
        "INSERT INTO policies (tenant_id, name, body, updated_by) VALUES ($1, 'a', '{}', 'b')"
    ),
    "outbox": (
        "INSERT INTO outbox (tenant_id, topic, key, value, headers) "
        "VALUES ($1, 'models.state', '', '', '[]')"
    ),
    "artifacts": (
        "INSERT INTO artifacts (tenant_id, version_id, tier, precision, target, verdict, reason, "
        "report) VALUES ($1, gen_random_uuid(), 'a', 'b', 'c', 'skipped', '', '{}')"
    ),
    "versions": (
        "INSERT INTO versions (tenant_id, model_id, version, manifest_bytes, manifest, sha256, "
        "files, registered_by) VALUES ($1, gen_random_uuid(), '1', 'a', '{}', repeat('a', 64), "
        "'{}', 'b')"
    ),
    "deployments": (
        "INSERT INTO deployments (tenant_id, model_id, sequence, action, weight, actor, reason, at)"
        " VALUES ($1, gen_random_uuid(), 1, 'pause', 0, 'a', '', now())"
    ),
    "replays": (
        "INSERT INTO replays (tenant_id, version_id, verdict, report, made_by) "
        "VALUES ($1, gen_random_uuid(), 'passed', '{}', 'b')"
    ),
    "training_policies": (
        "INSERT INTO training_policies (tenant_id, name, trigger_id, trigger, model, actor, cause, "
        "interval_s) VALUES ($1, 'a', 'b', '{}', 'c', 'd', 'drift', 60)"
    ),
    "training_runs": (
        "INSERT INTO training_runs (tenant_id, run_id, trigger_id, trigger, model, actor, reason, "
        "priority, config, until) VALUES ($1, 'a', 'b', '{}', 'c', 'd', '', 5, '{}', 'registered')"
    ),
    "training_changes": (
        "INSERT INTO training_changes (tenant_id, trigger_id, run_id, action) "
        "VALUES ($1, 'a', 'digits-1', 'cancel')"
    ),
    "tenants": "INSERT INTO tenants (id, name) VALUES ($1, 'theirs')",
}


@pytest.mark.parametrize("table", WRITES)
def test_a_row_cannot_be_written_for_another_tenant(server: EmbeddedPostgres, table: str) -> None:
    async def work(owner: Place, stranger: Place) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            async with stranger.database.tenant(stranger.tenant.id) as connection:
                await connection.execute(WRITES[table], owner.tenant.id)

    asyncio.run(beside(server, work))


def test_no_tenant_sees_or_moves_a_position_in_a_topic(server: EmbeddedPostgres) -> None:
    async def work(owner: Place, _: Place) -> None:
        positions, topic_id = TrainingPositions(owner.database), uuid.uuid4().hex
        await positions.keep(topic_id, 7)
        async with owner.database.tenant(owner.tenant.id) as connection:
            assert await connection.fetch("SELECT 1 FROM training_positions") == []
            await connection.execute("UPDATE training_positions SET next_offset = 0")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            async with owner.database.tenant(owner.tenant.id) as connection:
                await connection.execute("INSERT INTO training_positions VALUES ('other', 0)")
        assert await positions.find(topic_id) == 7

    asyncio.run(beside(server, work))


def test_a_foreign_key_does_not_tell_whether_another_tenants_row_is_there(
    server: EmbeddedPostgres,
) -> None:
    """Checks of keys ignore policies; the tenant is a part of each key, so they find nothing."""

    async def refused(stranger: Place, version_id: uuid.UUID) -> str:
        query = WRITES["artifacts"].replace("gen_random_uuid()", "$2")
        with pytest.raises(asyncpg.ForeignKeyViolationError) as caught:
            async with stranger.database.tenant(stranger.tenant.id) as connection:
                await connection.execute(query, stranger.tenant.id, version_id)
        return str(caught.value)

    async def work(owner: Place, stranger: Place) -> None:
        theirs = (await owner.registry.version("digits", "1")).id
        assert await refused(stranger, theirs) == await refused(stranger, uuid.uuid4())

    asyncio.run(beside(server, work))


def test_without_a_tenant_there_is_nothing(server: EmbeddedPostgres) -> None:
    """Before the first transaction, and after one: Postgres leaves '' behind, which is no tenant."""

    async def work(owner: Place, _: Place) -> None:
        async with connected(server.dsn) as raw:
            assert await raw.fetchval("SELECT count(*) FROM models") == 0
            async with raw.transaction():
                await raw.execute(f"SELECT set_config('app.tenant', '{owner.tenant.id}', true)")
                assert await raw.fetchval("SELECT count(*) FROM models") == 1
            assert await raw.fetchval("SELECT current_setting('app.tenant')") == ""
            assert await raw.fetchval("SELECT count(*) FROM models") == 0

    asyncio.run(beside(server, work))


def test_a_connection_carries_no_tenant_to_its_next_user(server: EmbeddedPostgres) -> None:
    """Not even where somebody set one for the whole session."""

    async def work(owner: Place, stranger: Place) -> None:
        pids: set[int] = set()
        for place, rows in ((owner, 1), (stranger, 0), (owner, 1), (stranger, 0)):
            async with owner.database.tenant(place.tenant.id) as connection:
                pids.add(await connection.fetchval("SELECT pg_backend_pid()"))
                assert await connection.fetchval("SELECT count(*) FROM models") == rows
                await connection.execute(f"SET app.tenant = '{owner.tenant.id}'")
                await connection.execute("SET app.platform = 'on'")
        async with owner.database.tenant(stranger.tenant.id) as connection:
            assert await connection.fetchval("SELECT count(*) FROM tenants") == 1
        assert len(pids) == 1

    asyncio.run(beside(server, work))


def test_many_tenants_at_once_on_few_connections_stay_apart(server: EmbeddedPostgres) -> None:
    async def names(place: Place, count: int) -> list[set[str]]:
        seen: list[set[str]] = []
        for _ in range(count):
            seen.append({model.name for model in await place.registry.models()})
            await asyncio.sleep(0)
        return seen

    async def work() -> None:
        async with opened(server, ONE_CONNECTION.model_copy(update={"pool_max": 3})) as first:
            places = [first, *[await first.another() for _ in range(7)]]
            for place in places:
                await register(place.registry, place.tenant.name)
            seen = await asyncio.gather(*(names(place, 20) for place in places))
            for place, sets in zip(places, seen, strict=True):
                assert sets == [{place.tenant.name}] * 20

    asyncio.run(work())


def test_an_error_inside_leaves_no_tenant_and_no_row(server: EmbeddedPostgres) -> None:
    async def work(owner: Place, stranger: Place) -> None:
        insert = "INSERT INTO models (tenant_id, name) VALUES ($1, 'half')"
        with pytest.raises(ZeroDivisionError):
            async with owner.database.tenant(owner.tenant.id) as connection:
                await connection.execute(insert, owner.tenant.id)
                raise ZeroDivisionError
        assert [model.name for model in await owner.registry.models()] == ["digits"]
        assert await stranger.registry.models() == []

    asyncio.run(beside(server, work))


def test_an_id_that_is_no_tenants_can_do_nothing(server: EmbeddedPostgres) -> None:
    async def work(owner: Place, _: Place) -> None:
        nobody = Registry(owner.database, uuid.uuid4())
        assert await nobody.models() == []
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await register(nobody)
        with pytest.raises(ConfigurationError, match="no tenant has the id"):
            await nobody.what_served()

    asyncio.run(beside(server, work))
