import hashlib
import json
import os
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas import manifest as manifests
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.workers.models import (
    MANIFEST_FILE,
    MODEL_FILE,
    find,
    latest,
    read_manifest,
    read_model,
    version_order,
    write_model,
)
from tests.workers.rig import manifest


def refusal(folder: Path) -> str:
    with pytest.raises(ModelRefused) as caught:
        read_manifest(folder)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "models", b"content", manifest("digits", "3"))


def test_written_model_is_found_and_read(folder: Path) -> None:
    found = find(folder.parent.parent)
    (version,) = found.versions
    assert found.refusals == ()
    assert version.folder == folder
    assert version.manifest == manifest(
        "digits", "3", sha256=hashlib.sha256(b"content").hexdigest()
    )
    assert read_model(version) == b"content"


def test_missing_folder_holds_no_models(tmp_path: Path) -> None:
    assert find(tmp_path / "nothing").versions == ()


def test_version_is_written_once(folder: Path) -> None:
    with pytest.raises(ModelRefused, match="not empty"):
        write_model(folder.parent.parent, b"other", manifest("digits", "3"))
    assert (folder / MODEL_FILE).read_bytes() == b"content"
    assert [entry.name for entry in folder.parent.iterdir()] == ["3"]


def test_refused_version_hides_no_other(folder: Path) -> None:
    models_dir = folder.parent.parent
    other = write_model(models_dir, b"x", manifest("digits", "4"))
    (other / MANIFEST_FILE).write_text("{")
    found = find(models_dir)
    assert [version.manifest.version for version in found.versions] == ["3"]
    ((refused),) = found.refusals
    assert (refused.model, refused.version) == ("digits", "4")
    assert MANIFEST_FILE in refused.reason


def test_changed_model_is_refused(folder: Path) -> None:
    (folder / MODEL_FILE).write_bytes(b"Content")
    (version,) = find(folder.parent.parent).versions
    with pytest.raises(ModelRefused, match="SHA-256"):
        read_model(version)


def test_missing_model_is_refused(folder: Path) -> None:
    (folder / MODEL_FILE).unlink()
    (version,) = find(folder.parent.parent).versions
    with pytest.raises(ModelRefused, match="No such file"):
        read_model(version)


def test_too_large_model_is_refused_unread(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chimera.workers.models.MAX_MODEL_BYTES", 1 << 20)
    with open(folder / MODEL_FILE, "wb") as file:
        file.truncate(1 << 40)
    (version,) = find(folder.parent.parent).versions
    with pytest.raises(ModelRefused, match="at most"):
        read_model(version)


@pytest.mark.parametrize("name", ["w.pt", "w.PTH", "w.pkl", "w.pickle", "w.ckpt", "w.joblib"])
def test_pickled_file_beside_the_model_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"x")
    assert name in refusal(folder)
    assert "pickled" in refusal(folder)


@pytest.mark.parametrize("name", [MODEL_FILE, MANIFEST_FILE, "other"])
def test_link_in_the_folder_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"content")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)
    assert "symbolic link" in refusal(folder)


def test_linked_folder_is_refused(folder: Path) -> None:
    linked = folder.parent / "4"
    linked.symlink_to(folder, target_is_directory=True)
    found = find(folder.parent.parent)
    assert [refused.version for refused in found.refusals] == ["4"]
    elsewhere = folder.parent.parent / "linked"
    elsewhere.symlink_to(folder.parent, target_is_directory=True)
    assert "symbolic link" in refusal(elsewhere / "3")


def test_link_that_appears_after_the_check_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (version,) = find(folder.parent.parent).versions
    (tmp_path / "target").write_bytes(b"content")
    (folder / MODEL_FILE).unlink()
    (folder / MODEL_FILE).symlink_to(tmp_path / "target")
    with pytest.raises(ModelRefused, match="symbolic"):
        read_model(version)


def test_pipe_in_place_of_the_model_is_refused_without_waiting(folder: Path) -> None:
    (folder / MODEL_FILE).unlink()
    os.mkfifo(folder / MODEL_FILE)
    (version,) = find(folder.parent.parent).versions
    with pytest.raises(ModelRefused, match="no regular file"):
        read_model(version)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "../digits"}, "no name"),
        ({"version": ".."}, "no name"),
        ({"version": "4"}, "its folder is"),
        ({"name": "other"}, "its folder is"),
        ({"sha256": "0" * 63}, "sha256"),
        ({"sha256": "0" * 64 + "\n"}, "sha256"),
        ({"ordering": "some"}, "ordering"),
        ({"max_batch_size": -1}, "max_batch_size"),
        ({"inputs": []}, "inputs"),
        ({"v": 2}, "v is 2"),
        ({"v": 0}, "v is 0"),
        ({"inputs": [{"name": "x", "datatype": "FP31", "shape": [-1]}]}, "FP31"),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [-2]}]}, "shape"),
        ({"outputs": [{"name": "y", "datatype": "FP32", "shape": [1]}] * 2}, "twice"),
    ],
)
def test_manifest_that_is_wrong_is_refused(
    folder: Path, change: dict[str, Any], reason: str
) -> None:
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert reason in refusal(folder)
    assert str(path) in refusal(folder)


@given(st.binary(max_size=200))
def test_any_bytes_as_manifest_are_read_or_refused(raw: bytes) -> None:
    try:
        manifests.decode(raw, "m")
    except ModelRefused:
        pass


def test_unknown_fields_of_a_manifest_are_ignored() -> None:
    fields = msgspec.to_builtins(manifest()) | {"color": "blue", "v": 1}
    assert manifests.decode(msgspec.json.encode(fields), "m") == manifest()


def test_manifest_comes_back() -> None:
    full = manifest(
        ordering="none", max_batch_size=8, max_queue_delay_us=5, preferred_batch_size=(4, 8)
    )
    assert manifests.decode(manifests.encode(full), "m") == full


@pytest.mark.parametrize(
    ("fields", "batches"),
    [
        ({}, True),
        ({"max_batch_size": 0}, False),
        ({"inputs": (TensorSpec("x", "FP32", (1, 2)),)}, False),
        ({"outputs": (TensorSpec("y", "FP32", ()),)}, False),
    ],
)
def test_batches_need_a_first_dimension_that_varies(fields: dict[str, Any], batches: bool) -> None:
    made: Manifest = manifest(**fields)
    assert made.batches == batches


def test_versions_are_ordered_as_numbers() -> None:
    ordered = ["beta", "v9", "v10", "1", "1.2", "1.10", "9", "10", "2024-01-02", "2024-1-10"]
    shuffled = random.Random(0).sample(ordered, len(ordered))
    assert sorted(shuffled, key=version_order) == ordered
    assert latest(["9", "10", "1.5"]) == "10"
    assert latest([]) is None
