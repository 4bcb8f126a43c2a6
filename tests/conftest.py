"""The real engine for every test that needs one: a Kafka of this session's own, on free ports."""

import uuid
from collections.abc import Iterator

import pytest

from chimera.cli.kafka import EmbeddedKafka


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The bootstrap address of a real broker; shared, so use topics of your own (`prefix`)."""
    with EmbeddedKafka() as broker:
        yield broker.bootstrap


@pytest.fixture
def prefix() -> str:
    """A topic prefix (and a name for groups) that no other test has."""
    return f"t{uuid.uuid4().hex[:8]}."
