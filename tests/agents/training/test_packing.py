"""A manifest is recorded with the agent's key where there is one that may sign, and without it otherwise."""

from pathlib import Path

import pytest

from chimera.agents.training.packing import Packing
from chimera.schemas.model_settings import KeysSettings
from chimera.schemas.settings import Settings
from chimera.schemas.training_manifest import encode_manifest, verify
from chimera.stores import keys
from chimera.workers.training import history
from tests.workers.training.test_history import MANIFEST


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / MANIFEST.run_id).mkdir()
    held = KeysSettings(signing_file=tmp_path / "signing.pem", trusted_dir=tmp_path / "none")
    return Settings().model_copy(update={"keys": held})


def test_manifest_is_signed_where_there_is_a_key(settings: Settings, tmp_path: Path) -> None:
    unsigned = Packing(settings).record(tmp_path, MANIFEST)
    assert unsigned.signature == ""
    keys.create(settings.keys)
    signed = Packing(settings).record(tmp_path, MANIFEST)
    verify(encode_manifest(signed), keys.trusted(settings.keys), "run")
    assert list(history.read(tmp_path)) == [signed]


def test_key_that_others_may_read_signs_nothing_and_loses_no_run(
    settings: Settings, tmp_path: Path
) -> None:
    keys.create(settings.keys)
    settings.keys.signing_file.chmod(0o644)
    assert Packing(settings).record(tmp_path, MANIFEST) == MANIFEST
    assert list(history.read(tmp_path)) == [MANIFEST]
