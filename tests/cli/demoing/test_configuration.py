"""The demo's settings: the user's, but for what must be the demo's own."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from chimera.cli.demoing.configuration import applied, overrides, tiers_of, toml
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.model_settings import KeysSettings
from chimera.schemas.server_settings import PostgresSettings
from chimera.schemas.settings import Settings, load

DSN = "postgresql://app:secret@host/registry"


def test_what_a_child_reads_is_what_the_demo_applies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("CHIMERA_")]:
        monkeypatch.delenv(name)
    (tmp_path / "chimera.toml").write_text(f'[postgres]\ndsn = "{DSN}"\npool_max = 3\n')
    monkeypatch.setenv("CHIMERA_CONFIG", str(tmp_path / "chimera.toml"))
    monkeypatch.setenv("CHIMERA_KEYS__SIGNING", "the user's own key")
    own = overrides(tmp_path, is_embedded=False, has_int8=True)
    users = load()
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    assert applied(users, own) == load()
    assert users.postgres.dsn is not None
    assert (load().postgres.dsn, load().keys.signing, load().postgres.pool_max) == (None, None, 3)


def test_settings_file_of_a_kept_demo_holds_no_secret() -> None:
    postgres = PostgresSettings(dsn=SecretStr(DSN), pool_max=3)
    settings = Settings(postgres=postgres, keys=KeysSettings(signing=SecretStr("pem")))
    assert "[postgres]\npool_max = 3\n" in toml(settings)
    assert "secret" not in toml(settings)
    assert "pem" not in toml(settings)


def test_tiers_are_named_or_all_of_them() -> None:
    assert tiers_of(None) == ("onnx-cpu", "torch-cpu")
    assert tiers_of("all") == ()
    assert tiers_of("onnx-cpu, torch-cpu") == ("onnx-cpu", "torch-cpu")
    with pytest.raises(ConfigurationError, match="there is no tier 'tpu'"):
        tiers_of("onnx-cpu,tpu")
