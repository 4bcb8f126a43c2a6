"""Whoever could see another tenant's rows is not let in; and nobody is let in without a password."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from chimera.cli.postgres.config import APPLICATION, HBA, OWNER
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.errors import ConfigurationError
from chimera.stores import schema
from chimera.stores.postgres import Database
from tests.stores.places import connected

PASSWORD = "of-the-test"
ROLES = {
    "a_superuser": "SUPERUSER",
    "a_bypasser": "BYPASSRLS",
    "a_maker_of_roles": "CREATEROLE",
    "a_member_of_the_owner": f"IN ROLE {OWNER} NOINHERIT",
    "a_member_of_a_bypasser": "IN ROLE a_bypasser NOINHERIT",
}


@pytest.fixture(scope="module")
def trusting() -> Iterator[EmbeddedPostgres]:
    """A server that lets the test in as the superuser, to make the roles that must be refused."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server may run as another user
        hba = folder / "pg_hba.conf"
        hba.write_text("host all postgres 127.0.0.1/32 trust\n" + HBA)
        hba.chmod(0o644)
        with EmbeddedPostgres(extra={"hba_file": str(hba)}) as started:
            asyncio.run(schema.upgrade(started.owner_dsn, APPLICATION))
            asyncio.run(make_roles(started))
            yield started


async def make_roles(server: EmbeddedPostgres) -> None:
    async with connected(dsn(server, "postgres")) as superuser:
        for name, rights in ROLES.items():
            await superuser.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' {rights}")
            await superuser.execute(f"GRANT CONNECT ON DATABASE chimera TO {name}")


def dsn(server: EmbeddedPostgres, role: str, password: str = PASSWORD) -> str:
    return f"postgresql://{role}:{password}@127.0.0.1:{urlsplit(server.dsn).port}/chimera"


async def start(address: str) -> None:
    async with Database(address):
        pass


@pytest.mark.parametrize(
    ("role", "reason"),
    [
        ("a_superuser", "is, or can become, the superuser"),
        ("a_bypasser", "BYPASSRLS"),
        ("a_maker_of_roles", "CREATEROLE"),
        ("a_member_of_the_owner", "owns, or can become the owner of"),
        ("a_member_of_a_bypasser", "can take from a_bypasser, the right BYPASSRLS"),
    ],
)
def test_start_refuses_a_role_that_could_step_past_the_policies(
    trusting: EmbeddedPostgres, role: str, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"{role} .*{reason}.*tenants would not be kept"):
        asyncio.run(start(dsn(trusting, role)))


def test_start_refuses_the_owner_of_the_tables(server: EmbeddedPostgres) -> None:
    with pytest.raises(ConfigurationError, match="chimera_owner owns"):
        asyncio.run(start(server.owner_dsn))


def test_start_takes_the_application_role(server: EmbeddedPostgres) -> None:
    async def who() -> str:
        async with Database(server.dsn) as database, database.platform() as connection:
            return str(await connection.fetchval("SELECT current_user"))

    assert asyncio.run(who()) == APPLICATION


@pytest.mark.parametrize("role", [APPLICATION, OWNER, "postgres", "nobody"])
@pytest.mark.parametrize("password", ["", "wrong"])
def test_no_role_logs_in_without_its_password(
    server: EmbeddedPostgres, role: str, password: str
) -> None:
    """The superuser has none at all, so none is right."""

    async def log_in() -> None:
        async with connected(dsn(server, role, password)):
            pass

    with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InterfaceError)):
        asyncio.run(log_in())


def test_a_wrong_password_is_a_setting_to_correct(server: EmbeddedPostgres) -> None:
    with pytest.raises(ConfigurationError, match="CHIMERA_POSTGRES__DSN.*password"):
        asyncio.run(start(dsn(server, APPLICATION, "wrong")))


def test_passwords_are_demanded_with_scram_and_kept_as_scram(trusting: EmbeddedPostgres) -> None:
    async def kept() -> list[str]:
        async with connected(dsn(trusting, "postgres")) as superuser:
            rows = await superuser.fetch("SELECT left(rolpassword, 14) FROM pg_authid")
            return sorted({row[0] for row in rows if row[0]})

    assert asyncio.run(kept()) == ["SCRAM-SHA-256$"]


def test_the_servers_own_rules_are_one_and_ask_for_scram(server: EmbeddedPostgres) -> None:
    assert (server.folder / "data" / "pg_hba.conf").read_text() == HBA
    assert HBA.split() == ["host", "all", "all", "127.0.0.1/32", "scram-sha-256"]


def test_the_owner_of_a_folder_alone_reads_its_secrets(server: EmbeddedPostgres) -> None:
    mode = (server.folder / "access.json").stat().st_mode
    assert mode & 0o777 == 0o600
    secret = urlsplit(server.dsn).password
    assert secret
    assert secret not in Path(f"/proc/{server.pid}/cmdline").read_text()
    assert secret not in server.log_file.read_text()
