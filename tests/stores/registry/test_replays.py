"""Replays in the registry, and promotions that a policy bars without one that passed."""

import asyncio
from typing import Any

import msgspec
import pytest

from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.deployments import Change
from chimera.schemas.errors import DeploymentRefused, SchemaInvalid, UnknownModel
from chimera.schemas.promotion_policy import PromotionPolicy, ReplayRequirement, policy_name
from chimera.schemas.replay_report import ReplayReport
from tests.schemas.test_replay_report import REPORT
from tests.stores.places import Place, compiled, opened

REQUIRED = PromotionPolicy(requires_replay=ReplayRequirement())


async def report_of(place: Place, version: str, **fields: Any) -> ReplayReport:
    found = await place.registry.version("digits", version)
    return msgspec.structs.replace(REPORT, **{"version": version, "sha256": found.digest, **fields})


async def replayed(place: Place, version: str, **fields: Any) -> None:
    await place.registry.add_replay(await report_of(place, version, **fields), actor="ada")


async def require(place: Place, policy: object = REQUIRED) -> None:
    body = msgspec.to_builtins(policy)
    await place.registry.put_policy(policy_name("digits"), body, actor="test")


async def change(place: Place, action: Any, version: str, **fields: Any) -> None:
    await place.registry.record_deployment(
        "digits", Change(action, "ada", version=version, **fields)
    )


def test_latest_replay_of_a_version_is_given_back(server: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with opened(server) as place:
            for version in ("1", "2"):
                await compiled(place.registry, version=version)
            assert await place.registry.replay("digits", "2") is None
            await replayed(place, "2", verdict="failed")
            await replayed(place, "2")
            found = await place.registry.replay("digits", "2")
            assert found is not None
            assert (found.report, found.made_by) == (await report_of(place, "2"), "ada")
            assert 0 <= found.age_s < 60
            assert await place.registry.replay("digits", "1") is None

    asyncio.run(run())


def test_report_of_other_bytes_is_refused(server: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with opened(server) as place:
            await compiled(place.registry)
            with pytest.raises(SchemaInvalid, match="digits 1 is"):
                await replayed(place, "1", sha256="0" * 64)
            with pytest.raises(UnknownModel):
                await place.registry.add_replay(REPORT, actor="ada")

    asyncio.run(run())


def test_promotion_that_needs_a_replay_is_refused_without_one_that_passed(
    server: EmbeddedPostgres,
) -> None:
    async def run() -> None:
        async with opened(server) as place:
            for version in ("1", "2", "3"):
                await compiled(place.registry, version=version)
            await require(place)
            await change(place, "deploy", "1")  # the first: nothing to compare it with
            await change(place, "deploy", "2", weight=10)
            for action in ("promote", "deploy"):
                with pytest.raises(DeploymentRefused, match="was not replayed.*models replay dig"):
                    await change(place, action, "2")
            for version in ("2", "3"):  # nor by a way back that is none
                with pytest.raises(DeploymentRefused, match=f"{version}: it never served"):
                    await change(place, "rollback", version)
            await replayed(place, "2", verdict="undecided")
            with pytest.raises(DeploymentRefused, match="no replay of it was decided"):
                await change(place, "promote", "2")
            await replayed(place, "2", verdict="failed", reason="it was worse")
            with pytest.raises(DeploymentRefused, match="its replay failed: it was worse"):
                await change(place, "promote", "2")
            await replayed(place, "2")
            await replayed(place, "2", verdict="undecided")
            await change(place, "promote", "2")
            assert (await place.registry.live("digits")).sequence == 3
            await change(place, "rollback", "1")  # the way back is open
            await change(place, "deploy", "1")  # it serves already
            with pytest.raises(DeploymentRefused, match="was not replayed"):
                await change(place, "promote", "3")
            await require(place, PromotionPolicy())
            await change(place, "promote", "3")

    asyncio.run(run())


def test_promotion_that_was_recorded_is_not_asked_again(server: EmbeddedPostgres) -> None:
    """A command that is done again, after a policy was set, changes nothing and is not refused."""

    async def run() -> None:
        async with opened(server) as place:
            for version in ("1", "2"):
                await compiled(place.registry, version=version)
            await change(place, "deploy", "1")
            await change(place, "promote", "2", command_id="c-1")
            await require(place)
            await change(place, "promote", "2", command_id="c-1")
            assert (await place.registry.live("digits")).sequence == 2

    asyncio.run(run())


def test_policy_that_cannot_be_read_bars_every_promotion(server: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with opened(server) as place:
            for version in ("1", "2"):
                await compiled(place.registry, version=version)
            await change(place, "deploy", "1")
            await require(place, {"v": 99})
            with pytest.raises(DeploymentRefused, match="v is 99"):
                await change(place, "promote", "2")
            with pytest.raises(SchemaInvalid):
                await place.registry.promotion_policy("digits")

    asyncio.run(run())
