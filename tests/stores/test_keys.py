"""The private key in its file or in the settings; whom it is safe to believe."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from chimera.schemas.commitments import KEY_BYTES
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.model_settings import KeysSettings
from chimera.schemas.signing import Kind, new_key
from chimera.stores import keys


@pytest.fixture
def settings(tmp_path: Path) -> KeysSettings:
    return KeysSettings(
        signing_file=tmp_path / "keys" / "signing.pem", trusted_dir=tmp_path / "keys" / "trusted"
    )


def test_made_key_is_found_again(settings: KeysSettings) -> None:
    made = keys.create(settings)
    assert keys.signing_key(settings).public == made.public
    assert keys.public_file(settings).read_text() == f"{made.public.text}\n"


def test_private_key_is_its_owners_alone(settings: KeysSettings) -> None:
    keys.create(settings)
    assert settings.signing_file.stat().st_mode & 0o777 == 0o600
    assert settings.signing_file.parent.stat().st_mode & 0o777 == 0o700


def test_private_key_is_its_owners_alone_whatever_the_umask(settings: KeysSettings) -> None:
    before = os.umask(0)
    try:
        keys.create(settings)
    finally:
        os.umask(before)
    assert settings.signing_file.stat().st_mode & 0o777 == 0o600


def test_key_is_never_overwritten(settings: KeysSettings) -> None:
    keys.create(settings)
    before = settings.signing_file.read_bytes()
    with pytest.raises(ConfigurationError, match="never overwritten"):
        keys.create(settings)
    assert settings.signing_file.read_bytes() == before
    assert {path.name for path in settings.signing_file.parent.iterdir()} == {
        "signing.pem",
        "signing.pub",
    }


@pytest.mark.parametrize("left", ["signing.pem", "signing.pub"])
def test_half_a_pair_is_not_overwritten_either(settings: KeysSettings, left: str) -> None:
    path = settings.signing_file.with_name(left)
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(ConfigurationError, match="never overwritten"):
        keys.create(settings)
    assert [other.name for other in path.parent.iterdir()] == [left]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601])
def test_private_key_that_is_open_to_others_is_refused(settings: KeysSettings, mode: int) -> None:
    keys.create(settings)
    settings.signing_file.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"mode {mode:04o}.*chmod 600"):
        keys.signing_key(settings)


def test_private_key_that_nobody_may_write_is_taken(settings: KeysSettings) -> None:
    made = keys.create(settings)
    settings.signing_file.chmod(0o400)
    assert keys.signing_key(settings).public == made.public


def test_missing_key_says_how_to_make_one(settings: KeysSettings) -> None:
    with pytest.raises(ConfigurationError, match="chimera keys init"):
        keys.signing_key(settings)


@pytest.mark.parametrize("line_end", ["\n", "\\n"])
def test_key_of_the_settings_wins_over_the_file(settings: KeysSettings, line_end: str) -> None:
    keys.create(settings)
    secret = new_key()
    text = secret.pem().decode().replace("\n", line_end)
    found = keys.signing_key(settings.model_copy(update={"signing": SecretStr(text)}))
    assert found.public == secret.public


def test_secret_of_the_settings_is_in_no_text_and_no_error(settings: KeysSettings) -> None:
    wrong = settings.model_copy(update={"signing": SecretStr("open sesame")})
    assert "sesame" not in repr(wrong)
    with pytest.raises(ConfigurationError, match="CHIMERA_KEYS__SIGNING") as caught:
        keys.signing_key(wrong)
    assert "sesame" not in str(caught.value)


def test_machine_without_a_key_trusts_those_it_is_told(settings: KeysSettings) -> None:
    named, filed = new_key(), new_key()
    settings.trusted_dir.mkdir(parents=True)
    (settings.trusted_dir / "ops.pub").write_text(f"{filed.public.text}\n")
    (settings.trusted_dir / "notes.txt").write_text("no key")
    told = settings.model_copy(update={"trusted": (named.public.text,)})
    assert {key.key_id for key in keys.trusted(told)} == {
        named.public.key_id,
        filed.public.key_id,
    }
    assert len(keys.trusted(settings.model_copy(update={"trusted_dir": Path("nowhere")}))) == 0


def test_own_key_is_trusted(settings: KeysSettings) -> None:
    own = keys.create(settings)
    keys.trusted(settings).verify(Kind.MANIFEST, b"m", own.sign(Kind.MANIFEST, b"m"), "m")


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_trusted_key_that_others_may_write_is_refused(settings: KeysSettings, mode: int) -> None:
    settings.trusted_dir.mkdir(parents=True)
    path = settings.trusted_dir / "ops.pub"
    path.write_text(new_key().public.text)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="others may write"):
        keys.trusted(settings)


def test_trusted_key_that_is_none_is_named(settings: KeysSettings) -> None:
    settings.trusted_dir.mkdir(parents=True)
    (settings.trusted_dir / "ops.pub").write_text("ssh-ed25519 AAAA")
    with pytest.raises(ConfigurationError, match=r"ops\.pub: is no public key"):
        keys.trusted(settings)
    with pytest.raises(ConfigurationError, match="CHIMERA_KEYS__TRUSTED"):
        keys.trusted(settings.model_copy(update={"trusted": ("x",)}))


def test_destroyed_key_of_a_tenant_is_gone_from_the_disk_too(tmp_path: Path) -> None:
    path = keys.create_tenant_key(tmp_path, "acme")
    with path.open("rb") as held:  # its bytes, whatever becomes of the name
        keys.destroy_tenant_key(tmp_path, "acme")
        assert held.read() == bytes(KEY_BYTES)
    assert not path.exists()
    for name, told in (("acme", "has no key"), ("../acme", "no tenant's name")):
        with pytest.raises(ConfigurationError, match=told):
            keys.destroy_tenant_key(tmp_path, name)
