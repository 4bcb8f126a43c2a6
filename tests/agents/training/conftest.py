"""A stage for a test of the training agent, on the real Kafka and Postgres of all tests."""

from pathlib import Path

import pytest

from chimera.cli.postgres.server import EmbeddedPostgres
from tests.agents.scene import player
from tests.agents.training.stage import Play, staged


@pytest.fixture
def play(server: EmbeddedPostgres, kafka: str, prefix: str, tmp_path: Path) -> Play:
    """Runs a coroutine function with a stage of the test's own."""
    return player(lambda: staged(server, kafka, prefix, tmp_path))


@pytest.fixture
def play_untrained(play: Play) -> Play:
    """The same, on a stage on which nothing is trained."""
    return lambda work: play(lambda stage: work(stage.with_trainer(devices=())))
