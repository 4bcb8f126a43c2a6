"""`chimera doctor` on the registry: each thing that is wrong is named with its cure."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from chimera.cli.checkup import postgres as doctor_postgres
from chimera.cli.checkup.findings import Finding
from chimera.cli.postgres import cluster as postgres_cluster
from chimera.cli.postgres.config import APPLICATION
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.server_settings import PostgresSettings
from chimera.stores import schema


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), extra={"fsync": "off"}) as started:
        yield started


def finding(settings: PostgresSettings) -> Finding:
    (found,) = asyncio.run(doctor_postgres.check(settings))
    assert found.state != "failed" or found.do
    return found


def own(dsn: str) -> PostgresSettings:
    return PostgresSettings(dsn=SecretStr(dsn), connect_timeout_ms=1_000)


def test_a_registry_is_well_once_it_has_its_tables(server: EmbeddedPostgres) -> None:
    settings = PostgresSettings(embedded_dir=server.folder)
    before = finding(settings)
    assert (before.state, "chimera db upgrade" in before.found) == ("failed", True)
    asyncio.run(schema.upgrade(server.owner_dsn, APPLICATION))
    after = finding(settings)
    assert after.state == "ok"
    assert server.dsn.rpartition("@")[2] in after.found
    asyncio.run(schema.downgrade(server.owner_dsn, APPLICATION, "base"))


def test_no_server_is_only_something_to_know(tmp_path: Path) -> None:
    assert finding(PostgresSettings(embedded_dir=tmp_path)).state == "note"


def test_missing_programs_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_cluster, "_WHEEL", "no_such_wheel")
    found = finding(PostgresSettings(embedded_dir=tmp_path))
    assert (found.state, "uv sync" in found.do) == ("failed", True)


def test_a_server_that_does_not_answer_fails() -> None:
    found = finding(own("postgresql://a:very-secret@127.0.0.1:9/c"))
    assert found.state == "failed"
    assert "very-secret" not in found.found


def test_a_wrong_password_fails(server: EmbeddedPostgres) -> None:
    place = server.dsn.rpartition("@")[2]
    assert finding(own(f"postgresql://{APPLICATION}:wrong@{place}")).state == "failed"


def test_the_owner_as_application_role_fails(server: EmbeddedPostgres) -> None:
    asyncio.run(schema.upgrade(server.owner_dsn, APPLICATION))
    found = finding(own(server.owner_dsn))
    assert (found.state, "owns" in found.found) == ("failed", True)
