"""`chimera db`: on a server that runs, on one that does not, and on one's own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from chimera.cli.postgres.address import administered, find_postgres
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.server_settings import PostgresSettings
from chimera.stores.migrations import HEAD


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), extra={"fsync": "off"}) as started:
        yield started


def db(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chimera.cli", "db", *arguments],
        env={**os.environ, **settings},
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_db_goes_up_and_down_on_the_server_that_runs(server: EmbeddedPostgres) -> None:
    here = {"CHIMERA_POSTGRES__EMBEDDED_DIR": str(server.folder)}
    before = db("current", **here)
    assert (before.returncode, before.stdout.split(" (")[0]) == (1, "no tables")
    up = db("upgrade", **here)
    assert (up.returncode, up.stdout) == (0, f"the registry is at revision {HEAD}\n")
    assert db("current", **here).returncode == 0
    down = db("downgrade", "base", "--yes", **here)
    assert down.stdout == "the registry is at revision base: it has no tables\n"
    assert server.running


def test_db_downgrade_asks_first(server: EmbeddedPostgres) -> None:
    done = db("downgrade", "base", CHIMERA_POSTGRES__EMBEDDED_DIR=str(server.folder))
    assert done.returncode == 1
    assert "is lost. Go on?" in done.stdout


def test_db_on_a_server_of_ones_own_needs_its_owner(server: EmbeddedPostgres) -> None:
    own = {"CHIMERA_POSTGRES__DSN": server.dsn}
    done = db("upgrade", **own)
    assert done.returncode == 1
    assert "CHIMERA_POSTGRES__OWNER_DSN" in done.stderr
    both = {**own, "CHIMERA_POSTGRES__OWNER_DSN": server.owner_dsn}
    assert db("upgrade", **both).returncode == 0
    assert db("downgrade", "base", "--yes", **both).returncode == 0


def test_administered_starts_a_server_that_does_not_run_and_stops_it(tmp_path: Path) -> None:
    settings = PostgresSettings(embedded_dir=tmp_path / "postgres")
    with administered(settings) as address:
        assert find_postgres(settings) == address.dsn
        assert address.application_role == "chimera_app"
    with pytest.raises(ConfigurationError, match="none runs in.*chimera up"):
        find_postgres(settings)


def test_find_postgres_prefers_the_server_of_the_settings(server: EmbeddedPostgres) -> None:
    own = PostgresSettings(dsn=SecretStr("postgresql://a@b/c"), embedded_dir=server.folder)
    assert find_postgres(own) == "postgresql://a@b/c"
    assert find_postgres(PostgresSettings(embedded_dir=server.folder)) == server.dsn
