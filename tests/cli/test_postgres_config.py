"""The embedded Postgres' configuration: loopback, SCRAM, secrets that nobody else reads."""

import re
from pathlib import Path

import pytest

from chimera.cli.postgres import config as postgres_config
from chimera.cli.postgres.config import Access, new_access, read_access
from chimera.schemas.errors import ConfigurationError


def test_access_reads_what_it_wrote(tmp_path: Path) -> None:
    access = new_access()
    access.write(tmp_path)
    assert read_access(tmp_path) == access
    assert (tmp_path / "access.json").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["access.json"]


def test_access_that_was_never_written_is_none(tmp_path: Path) -> None:
    assert read_access(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"port": 1}'])
def test_access_that_is_not_ours_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "access.json").write_text(text)
    with pytest.raises(ConfigurationError, match="access.json cannot be read.*remove it"):
        read_access(tmp_path)


def test_new_access_has_secrets_that_need_no_quoting() -> None:
    made = [new_access() for _ in range(200)]
    secrets = {one.owner_password for one in made} | {one.application_password for one in made}
    assert len(secrets) == 400
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", secret) for secret in secrets)


def test_secrets_are_in_no_repr() -> None:
    access = Access(1, "owner-secret", "app-secret")
    assert "secret" not in repr(access)
    assert "app-secret" in access.dsn
    assert "owner-secret" in access.owner_dsn


def test_options_put_extra_over_our_own() -> None:
    given = postgres_config.options(20_001, {"shared_buffers": "1MB"})
    assert given[::2] == ["-c"] * (len(given) // 2)
    assert "port=20001" in given
    assert [one for one in given if one.startswith("shared_buffers")] == ["shared_buffers=1MB"]


def test_options_and_rules_name_loopback_alone() -> None:
    given = postgres_config.options(1, {})
    assert "listen_addresses=127.0.0.1" in given
    assert "unix_socket_directories=" in given
    assert postgres_config.HBA.split()[3:] == ["127.0.0.1/32", "scram-sha-256"]
