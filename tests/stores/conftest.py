"""One embedded ClickHouse for all tests of the session: a process has one."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from chimera.stores import clickhouse, warehouse_tables
from chimera.stores.clickhouse import ClickHouse

_partitions = itertools.count(1)


@pytest.fixture(scope="session")
def engine_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clickhouse")


@pytest.fixture(scope="session")
def engine(engine_folder: Path) -> Iterator[ClickHouse]:
    """With all tables; shared, so keep to a partition of your own."""
    found = clickhouse.embedded(engine_folder)
    warehouse_tables.migrate(found)
    yield found
    found.close()


@pytest.fixture
def partition() -> int:
    return next(_partitions)
