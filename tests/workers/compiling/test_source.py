"""A version's files, as they are read: each has to be the one that the manifest names."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save

from chimera.schemas import manifest as manifests
from chimera.schemas.errors import ModelRefused
from chimera.workers.compiling.source import read_source
from chimera.workers.models import Version, read_beside, read_manifest, write_model
from tests.workers.compiling import two_heads


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return two_heads.write(tmp_path)


def test_source_has_weights_and_samples(folder: Path) -> None:
    source = read_source(folder)
    assert source.content == (folder / "model.safetensors").read_bytes()
    assert source.samples["x"].shape == (40, 6)
    assert source.inputs(50)[0].shape == (50, 6)


def test_manifest_names_every_file(folder: Path) -> None:
    files = read_manifest(folder).files
    assert set(files) == {"model.safetensors", "samples.safetensors"}
    for name, file in files.items():
        assert file.size_bytes == (folder / name).stat().st_size


@pytest.mark.parametrize("name", ["model.safetensors", "samples.safetensors"])
def test_changed_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(ModelRefused, match=f"{name}: SHA-256"):
        read_source(folder)


def test_samples_that_are_no_safetensors_are_refused(tmp_path: Path) -> None:
    manifest = two_heads.manifest("bad")
    folder = write_model(
        tmp_path, two_heads.weights(), manifest, {"samples.safetensors": b"nothing"}
    )
    with pytest.raises(ModelRefused, match=r"samples\.safetensors: is no safetensors"):
        read_source(folder)


def test_samples_of_another_shape_are_refused(tmp_path: Path) -> None:
    wrong = save({"x": np.zeros((4, 5), "f4")})
    folder = write_model(
        tmp_path, two_heads.weights(), two_heads.manifest("bad"), {"samples.safetensors": wrong}
    )
    with pytest.raises(ModelRefused, match="shape"):
        read_source(folder)


def test_file_that_the_manifest_does_not_name_is_not_read(folder: Path) -> None:
    (folder / "other").write_bytes(b"")
    manifest = read_manifest(folder)
    version = Version(folder, manifest, manifest.sha256)
    with pytest.raises(ModelRefused, match="none of the manifest's"):
        read_beside(version, "other")


def test_name_that_leads_out_is_not_read(folder: Path) -> None:
    manifest = read_manifest(folder)
    files = {**manifest.files, "../2/secret": manifest.files["samples.safetensors"]}
    changed = msgspec.structs.replace(manifest, files=files, samples="../2/secret")
    (folder / "manifest.json").write_bytes(manifests.encode(changed))
    with pytest.raises(ModelRefused, match="no plain file name|no .safetensors file"):
        read_source(folder)
