"""`chimera keys`: a pair that is made once, and what is said about it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from chimera.cli.main import app
from chimera.schemas.signing import new_key
from chimera.workers.tenant_keys import TenantKeys


@pytest.fixture(autouse=True)
def settings_of_our_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def chimera(*arguments: str, **variables: str) -> Result:
    environment = {f"CHIMERA_{name}": value for name, value in variables.items()}
    return CliRunner().invoke(app, ["keys", *arguments], env=environment)


def test_init_makes_a_pair_and_says_where() -> None:
    result = chimera("init")
    assert result.exit_code == 0, result.stderr
    folder = Path(".chimera/keys")
    assert {path.name for path in folder.iterdir()} == {"signing.pem", "signing.pub"}
    assert ".chimera/keys/signing.pub" in result.stdout
    secret = folder.joinpath("signing.pem").read_text().splitlines()[1]
    assert secret not in result.output


def test_init_a_second_time_changes_nothing() -> None:
    chimera("init")
    before = Path(".chimera/keys/signing.pem").read_bytes()
    result = chimera("init")
    assert result.exit_code == 1
    assert "never overwritten" in result.stderr
    assert Path(".chimera/keys/signing.pem").read_bytes() == before


def test_show_names_the_key_that_signs_and_all_that_are_trusted() -> None:
    made = chimera("init").stdout.split()[1]
    other = new_key().public
    result = chimera("show", KEYS__TRUSTED=f'["{other.text}"]')
    assert result.exit_code == 0
    own, trusted = result.stdout.splitlines()
    assert own.startswith(made)
    assert own.endswith("signs, from .chimera/keys/signing.pem")
    assert trusted == f"{other.key_id}  {other.text}  trusted"


def test_show_without_a_key_says_how_to_make_one() -> None:
    result = chimera("show")
    assert result.exit_code == 0
    assert "`chimera keys init`" in result.stdout


def test_show_never_shows_the_private_key() -> None:
    secret = new_key().pem().decode()
    result = chimera("show", KEYS__SIGNING=secret)
    assert result.exit_code == 0
    assert "signs, from CHIMERA_KEYS__SIGNING" in result.stdout
    assert secret.splitlines()[1] not in result.output


def test_key_that_is_open_to_others_ends_the_command() -> None:
    chimera("init")
    Path(".chimera/keys/signing.pem").chmod(0o644)
    result = chimera("show")
    assert result.exit_code == 1
    assert "chmod 600" in result.stderr


def test_tenant_gets_a_key_once() -> None:
    result = chimera("tenant", "acme", JOURNAL__KEYS_DIR="keys")
    path = Path("keys/acme.key")
    assert (result.exit_code, path.stat().st_mode & 0o777) == (0, 0o600)
    key = path.read_bytes()
    assert TenantKeys(Path("keys")).of("acme") is not None
    again = chimera("tenant", "acme", JOURNAL__KEYS_DIR="keys")
    assert (again.exit_code, path.read_bytes()) == (1, key)
    assert chimera("tenant", "../acme", JOURNAL__KEYS_DIR="keys").exit_code == 1
