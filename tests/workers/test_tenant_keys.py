import hmac
from pathlib import Path

import pytest

from chimera.workers import tenant_keys
from chimera.workers.tenant_keys import TenantKeys

KEY = bytes(range(32))


def write(folder: Path, tenant: str, key: bytes = KEY, mode: int = 0o600) -> Path:
    path = folder / f"{tenant}.key"
    path.write_bytes(key)
    path.chmod(mode)
    return path


def test_tenant_with_a_key_commits_with_it(tmp_path: Path) -> None:
    write(tmp_path, "acme")
    found = TenantKeys(tmp_path).of("acme")
    assert found is not None
    assert found.of(b"value") == hmac.digest(KEY, b"value", "sha256")


@pytest.mark.parametrize("tenant", ["other", "../acme", "a/b", "", "µ", "acme\0"])
def test_tenant_without_a_key_or_a_name_commits_to_nothing(tmp_path: Path, tenant: str) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    write(tmp_path, "acme")
    assert TenantKeys(folder).of(tenant) is None


@pytest.mark.parametrize(("size", "mode"), [(31, 0o600), (33, 0o600), (0, 0o600), (32, 0o640)])
def test_file_that_is_no_secret_key_is_not_used(tmp_path: Path, size: int, mode: int) -> None:
    write(tmp_path, "acme", bytes(size), mode)
    assert TenantKeys(tmp_path).of("acme") is None


def test_key_that_was_destroyed_or_made_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, path = TenantKeys(tmp_path), write(tmp_path, "acme")
    first = keys.of("acme")
    path.unlink()
    assert keys.of("acme") is first is not None
    monkeypatch.setattr(tenant_keys, "LOOK_AGAIN_S", 0.0)
    keys = TenantKeys(tmp_path)
    assert keys.of("acme") is None
    write(tmp_path, "acme")
    again = keys.of("acme")
    assert again is not None and again is keys.of("acme")
    path.unlink()
    assert keys.of("acme") is None
