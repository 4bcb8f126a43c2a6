"""A signature vouches for every field and for the weights, and survives another spelling of the JSON."""

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from chimera.schemas.errors import SignatureInvalid, TrainingRefused
from chimera.schemas.signing import Kind, Trusted, new_key
from chimera.schemas.training_manifest import (
    TrainingManifest,
    encode_manifest,
    signed_bytes,
    verify,
)
from chimera.workers.training import history, recording
from tests.workers.training.test_history import MANIFEST

KEY = new_key()
TRUSTED = Trusted([KEY.public])
WEIGHTS = b"numbers"


@pytest.fixture
def recorded(tmp_path: Path) -> TrainingManifest:
    """A run with its weights, signed and recorded."""
    (tmp_path / MANIFEST.run_id).mkdir()
    (tmp_path / MANIFEST.run_id / "weights.safetensors").write_bytes(WEIGHTS)
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    manifest = msgspec.structs.replace(MANIFEST, weights_sha256=digest)
    return recording.record(tmp_path, manifest, KEY)


def test_record_is_signed_in_both_files(tmp_path: Path, recorded: TrainingManifest) -> None:
    line = recording.line(tmp_path, recorded.run_id)
    for raw in (line, (tmp_path / recorded.run_id / "manifest.json").read_bytes()):
        assert verify(raw, TRUSTED, "run").key_id == KEY.public.key_id
    recording.require_whole(tmp_path, line)
    assert list(history.read(tmp_path)) == [recorded]


def test_signature_holds_for_another_spelling_and_a_field_of_later_releases() -> None:
    fields = json.loads(encode_manifest(MANIFEST)) | {"carbon_g": 12.5}
    bare = json.dumps(fields, sort_keys=True).encode()
    signature = KEY.sign(Kind.TRAINING, signed_bytes(bare))
    spelt = json.dumps(fields | {"signature": signature}, indent=3).encode()
    assert verify(spelt, TRUSTED, "run").key_id == KEY.public.key_id


def test_changed_field_is_found(recorded: TrainingManifest) -> None:
    for name, value in (("metrics", {"eval_mse": 0.0}), ("seed", 1), ("config_hash", "f" * 64)):
        changed = msgspec.structs.replace(recorded, **{name: value})
        with pytest.raises(SignatureInvalid, match="is not over this training manifest"):
            verify(encode_manifest(changed), TRUSTED, "run")


def test_stranger_and_nobody_are_not_believed(recorded: TrainingManifest) -> None:
    with pytest.raises(SignatureInvalid, match="no trusted key"):
        verify(encode_manifest(recorded), Trusted([new_key().public]), "run")
    with pytest.raises(SignatureInvalid, match="is no signature"):
        verify(encode_manifest(MANIFEST), TRUSTED, "run")


def test_other_weights_and_another_manifest_are_found(
    tmp_path: Path, recorded: TrainingManifest
) -> None:
    line, folder = recording.line(tmp_path, recorded.run_id), tmp_path / recorded.run_id
    (folder / "weights.safetensors").write_bytes(b"others")
    with pytest.raises(SignatureInvalid, match=r"weights\.safetensors"):
        recording.require_whole(tmp_path, line)
    (folder / "manifest.json").write_bytes(encode_manifest(MANIFEST))
    with pytest.raises(SignatureInvalid, match=r"manifest\.json"):
        recording.require_whole(tmp_path, line)
    with pytest.raises(TrainingRefused, match="no finished run x"):
        recording.line(tmp_path, "x")
