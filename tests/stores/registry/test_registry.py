"""Versions: registered once, the same for ever; artifacts: the newest of each tier counts."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.control_actions import POLICY_PUT, VERSION_REGISTERED
from chimera.schemas.errors import ModelRefused, SchemaInvalid, UnknownModel, VersionTaken
from chimera.schemas.manifest import File, encode
from chimera.schemas.transparency.leaves import ActionTaken, decode_leaf
from chimera.stores.registry.outbox import AUDIT, Outbox
from chimera.stores.registry.records import Artifact
from tests.stores.places import Place, connected, manifest, opened, register


def play(server: EmbeddedPostgres, work: Callable[[Place], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(server) as place:
            await work(place)

    asyncio.run(run())


def test_register_keeps_the_bytes_as_they_were_signed(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        said = manifest(labels=("null", "eins", "ž"))
        raw = encode(said) + b"   \n"  # as nobody would write it again
        files = {"model.onnx": File(said.sha256, 7)}
        await place.registry.register(raw, said, files, actor="me")
        found = await place.registry.version("digits", "1")
        assert (found.manifest_bytes, found.manifest, found.files) == (raw, said, files)
        assert (found.sha256, found.registered_by) == (said.sha256, "me")

    play(server, work)


def test_register_of_the_same_bytes_again_changes_nothing(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        first = await register(place.registry)
        again = await asyncio.gather(*(register(place.registry) for _ in range(5)))
        assert {one.id for one in again} == {first.id}
        assert [model.versions for model in await place.registry.models()] == [1]

    play(server, work)


def test_register_of_many_at_once_makes_one(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        made = await asyncio.gather(*(register(place.registry) for _ in range(6)))
        assert len({one.id for one in made}) == 1

    play(server, work)


def test_register_of_another_manifest_under_the_same_version_is_refused(
    server: EmbeddedPostgres,
) -> None:
    async def work(place: Place) -> None:
        first = await register(place.registry)
        other = manifest(labels=("other",))
        with pytest.raises(VersionTaken, match="digits 1 was registered with another manifest"):
            await place.registry.register(encode(other), other, first.files, actor="me")
        with pytest.raises(VersionTaken):
            await place.registry.register(
                first.manifest_bytes, first.manifest, {"a": File("a" * 64, 1)}, actor="me"
            )
        assert await place.registry.version("digits", "1") == first

    play(server, work)


def test_register_refuses_what_json_in_postgres_cannot_hold(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        said = manifest(labels=("a\0b",))
        with pytest.raises(ModelRefused, match="NUL"):
            await place.registry.register(encode(said), said, {}, actor="me")
        assert await place.registry.models() == []

    play(server, work)


def test_versions_come_newest_first_and_models_by_name(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        for name, version in (("b", "1"), ("a", "1"), ("a", "2"), ("a", "10")):
            await register(place.registry, name, version)
        assert [one.version for one in await place.registry.versions("a")] == ["10", "2", "1"]
        models = await place.registry.models()
        assert [(one.name, one.versions) for one in models] == [("a", 3), ("b", 1)]

    play(server, work)


def test_what_is_not_registered_is_unknown(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        await register(place.registry)
        with pytest.raises(UnknownModel, match="no version 2 of model digits"):
            await place.registry.version("digits", "2")
        with pytest.raises(UnknownModel, match="no model other"):
            await place.registry.versions("other")

    play(server, work)


@pytest.mark.parametrize("table", ["versions", "artifacts", "deployments", "replays"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {}"])
def test_what_is_registered_changes_for_nobody(
    server: EmbeddedPostgres, table: str, statement: str
) -> None:
    """The application has no right to; its owner is stopped by the trigger."""

    async def work(place: Place) -> None:
        await register(place.registry)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            async with place.database.tenant(place.tenant.id) as connection:
                await connection.execute(statement.format(table))
        truncated = statement + (" CASCADE" if statement.startswith("TRUNCATE") else "")
        async with connected(server.owner_dsn) as owner:
            with pytest.raises(asyncpg.RestrictViolationError, match="is append-only"):
                await owner.execute(truncated.format(table))

    play(server, work)


VERIFIED = Artifact(
    "onnx-cpu", "fp32", "x86-64-v3", "verified", "", "c" * 64, 12, {"max_abs": 1e-6, "rows": [1]}
)


def test_artifacts_are_the_newest_of_each_tier_precision_and_target(
    server: EmbeddedPostgres,
) -> None:
    async def work(place: Place) -> None:
        await register(place.registry)
        refused = Artifact("onnx-cpu", "fp32", "x86-64-v3", "refused", "max error 1.0")
        int8 = Artifact("onnx-cpu", "int8", "x86-64-v3", "skipped", "not asked for")
        for one in (refused, int8, VERIFIED):
            await place.registry.add_artifact("digits", "1", one)
        found = await place.registry.artifacts("digits", "1")
        assert [(one.precision, one.verdict) for one in found] == [
            ("fp32", "verified"),
            ("int8", "skipped"),
        ]
        assert found[0].report == VERIFIED.report
        assert found[0].made_at is not None

    play(server, work)


def test_a_verified_artifact_names_its_file(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        await register(place.registry)
        with pytest.raises(asyncpg.CheckViolationError):
            await place.registry.add_artifact(
                "digits", "1", Artifact("onnx-cpu", "fp32", "x86-64", "verified")
            )

    play(server, work)


def test_a_policy_is_the_last_that_was_put(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        assert await place.registry.policy("canary") is None
        for errors in (0.1, 0.2):
            await place.registry.put_policy("canary", {"errors": errors}, actor="me")
        found = await place.registry.policy("canary")
        assert found is not None
        assert (found.body, found.updated_by) == ({"errors": 0.2}, "me")

    play(server, work)


async def actions(place: Place) -> list[ActionTaken]:
    """Of this tenant, that wait to be told to the audit log."""
    rows = await Outbox(place.database, [AUDIT]).pending(10_000)
    leaves = [decode_leaf(row.value) for row in rows]
    mine = [one for one in leaves if one.tenant == place.tenant.name]
    return [one for one in mine if isinstance(one, ActionTaken)]


def test_each_change_of_a_policy_is_told_to_the_audit_log(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        for errors in (0.1, 0.2):
            await place.registry.put_policy("canary", {"errors": errors}, actor="me")
        with pytest.raises(SchemaInvalid, match="actor"):
            await place.registry.put_policy("canary", {"errors": 0.3}, actor="")
        assert [(one.action, one.actor, one.details["body"]) for one in await actions(place)] == [
            (POLICY_PUT, "me", '{"errors":0.1}'),
            (POLICY_PUT, "me", '{"errors":0.2}'),
        ]
        found = await place.registry.policy("canary")
        assert found is not None and found.body == {"errors": 0.2}

    play(server, work)


def test_version_that_is_new_is_told_to_the_audit_log_once(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        made = [await register(place.registry) for _ in range(2)]
        (event,) = await actions(place)
        assert (event.action, event.actor, event.object) == (VERSION_REGISTERED, "test", "digits 1")
        assert event.details == {"digest": made[0].digest}

    play(server, work)
