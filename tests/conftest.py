"""Real engines for every test that needs one: Kafka, Postgres, ClickHouse; of this session's own, on free ports."""

import asyncio
import os
import sys
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest

from chimera.cli.kafka.server import EmbeddedKafka
from chimera.cli.postgres.config import APPLICATION
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.stores import clickhouse, schema, warehouse_tables
from chimera.stores.clickhouse import ClickHouse
from tests import leftovers

WORKER_BYTES = 1_700_000_000  # a broker, a Postgres, a ClickHouse, nodes and trainers
MOST_WORKERS = 8
ENDS_WITHIN_S = 20.0  # a process that the session started, after the session

# a thousand processes start here, and each would compile anew all that it imports
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

hypothesis.settings.register_profile("chimera", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("chimera")


def pytest_configure() -> None:
    leftovers.mark()


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Nothing that tests started may outlive them."""
    yield
    if hasattr(session.config, "workerinput"):
        return  # the others' worker: only who started them all knows when all have ended
    if found := leftovers.left(ENDS_WITHIN_S):
        sys.stderr.write("\nleft behind:\n" + "\n".join(found) + "\n")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_xdist_auto_num_workers() -> int:
    """One more than cores, since tests also wait, where there is memory for their servers."""
    memory = psutil.virtual_memory().total // WORKER_BYTES
    return max(2, min(1 + (os.cpu_count() or 1), memory, MOST_WORKERS))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files go to whoever is free: first those that may take long, so that nobody is left with one."""
    may_take_s: dict[Path, float] = {}
    for item in items:
        mark = item.get_closest_marker("timeout")
        within_s = float(mark.args[0]) if mark is not None else 0.0
        may_take_s[item.path] = max(within_s, may_take_s.get(item.path, 0.0))
    items.sort(key=lambda item: -may_take_s[item.path])


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The bootstrap address of a real broker; shared, so use topics of your own (`prefix`)."""
    with EmbeddedKafka(is_brief=True) as broker:
        yield broker.bootstrap


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """At the newest revision; shared, so make a tenant of your own (`tests.stores.places`)."""
    with EmbeddedPostgres(extra={"fsync": "off"}) as started:  # nobody pulls the plug
        asyncio.run(schema.upgrade(started.owner_dsn, APPLICATION))
        yield started


@pytest.fixture(scope="session")
def engine_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clickhouse")


@pytest.fixture(scope="session")
def engine(engine_folder: Path) -> Iterator[ClickHouse]:
    """In this process, which can have no other; shared, so keep to a partition of your own."""
    found = clickhouse.embedded(engine_folder)
    warehouse_tables.migrate(found)
    yield found
    found.close()


@pytest.fixture
def prefix() -> str:
    """A topic prefix (and a name for groups) that no other test has."""
    return f"t{uuid.uuid4().hex[:8]}."
