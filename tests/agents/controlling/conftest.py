"""Stages for tests of the controller, on the real Kafka and Postgres of all tests."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.model_commands import DeployModel
from tests.agents.controlling.stage import Play, Stage, staged
from tests.agents.scene import player
from tests.stores.places import compiled


@pytest.fixture
def play(server: EmbeddedPostgres, kafka: str, prefix: str, tmp_path: Path) -> Play:
    """Runs a coroutine function with a stage of the test's own."""
    return player(lambda: staged(server, kafka, prefix, tmp_path))


@pytest.fixture
def play_compiled(play: Play) -> Play:
    """The same, with two versions of `digits`."""

    def run(work: Callable[[Stage], Awaitable[None]]) -> None:
        async def with_versions(stage: Stage) -> None:
            for version in "12":
                await compiled(stage.place.registry, version=version)
            await work(stage)

        play(with_versions)

    return run


@pytest.fixture
def play_deployed(play_compiled: Play) -> Play:
    """The same, where 2 serves `digits`, and 1 did before."""

    def run(work: Callable[[Stage], Awaitable[None]]) -> None:
        async def with_deployments(stage: Stage) -> None:
            await stage.send(*(stage.command(DeployModel, version=one) for one in "12"))
            await work(stage)

        play_compiled(with_deployments)

    return run
