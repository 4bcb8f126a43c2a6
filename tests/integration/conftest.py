"""A broker that campaigns may break, beside the shared one that nobody may; a place that follows."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.places import Place, make_place
from tests.integration.chaos.broker import Broker
from tests.integration.clickhouse_at import Server
from tests.integration.registry import Registry


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """Started by the first test that asks; kill it, but leave it running."""
    with Broker() as found:
        yield found


@pytest.fixture
def registry(kafka: str, tmp_path: Path, prefix: str) -> tuple[Place, Registry]:
    place = make_place(kafka, tmp_path, prefix.rstrip("."))
    registry = Registry(place)
    return replace(place, environment={**place.environment, **registry.environment}), registry


@pytest.fixture
def clickhouse_address(tmp_path: Path) -> Iterator[Server]:
    """Nobody is there yet."""
    found = Server(tmp_path)
    yield found
    found.kill()


@pytest.fixture
def clickhouse_at(clickhouse_address: Server) -> Server:
    clickhouse_address.start()
    return clickhouse_address
