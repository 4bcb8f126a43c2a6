"""A stage for a test of the training agent, on the real Kafka and Postgres of all tests."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from chimera.cli.postgres.server import EmbeddedPostgres
from tests.agents.training.stage import Play, Stage, staged


@pytest.fixture
def play(server: EmbeddedPostgres, kafka: str, prefix: str, tmp_path: Path) -> Play:
    """Runs a coroutine function with a stage of the test's own."""

    def run(work: Callable[[Stage], Awaitable[None]]) -> None:
        async def staging() -> None:
            async with staged(server, kafka, prefix, tmp_path) as stage:
                await work(stage)

        asyncio.run(staging())

    return run


@pytest.fixture
def play_untrained(play: Play) -> Play:
    """The same, on a stage on which nothing is trained."""
    return lambda work: play(lambda stage: work(stage.with_trainer(devices=())))
