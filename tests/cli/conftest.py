"""A node for the tests of commands, on the session's Kafka."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.places import Place, make_place


@pytest.fixture(scope="session")
def served(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A place with a node that serves; shared, so leave it as it is."""
    place = make_place(kafka, tmp_path_factory.mktemp("served"), "served")
    node = place.node()
    yield place
    assert node.stop(30) == 0, (place.folder / "node.log").read_text()[-2000:]


@pytest.fixture
def place(kafka: str, tmp_path: Path, prefix: str) -> Place:
    """A place of the test's own, with no node."""
    return make_place(kafka, tmp_path, prefix.rstrip("."))
