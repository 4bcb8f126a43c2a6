import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from chimera.schemas import manifest as manifests
from chimera.schemas.errors import ModelRefused
from chimera.schemas.signing import Kind, Trusted
from chimera.workers.packing import pack, write_folder
from chimera.workers.vouching import read_signed
from tests.workers.hostile_changes import DEFINITION, good
from tests.workers.hostile_files import KEY, RULES
from tests.workers.rig import manifest, sums

TRUSTED = Trusted([KEY.public])


def test_packed_version_is_complete_and_signed(tmp_path: Path) -> None:
    folder = good(tmp_path / "upload")
    packed = pack(folder, KEY, RULES)
    assert manifests.decode(packed.raw, "m") == packed.manifest
    assert packed.digest == hashlib.sha256(packed.raw).hexdigest()
    TRUSTED.verify(Kind.MANIFEST, packed.raw, packed.signature, "m")


def test_packing_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    folder = good(tmp_path / "upload")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    pack(folder, KEY, RULES)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_written_version_packs_to_the_same_digest(tmp_path: Path) -> None:
    folder = good(tmp_path / "upload")
    first = pack(folder, KEY, RULES)
    first.write()
    assert read_signed(folder, TRUSTED) == first.manifest
    assert pack(folder, KEY, RULES).digest == first.digest


def test_folder_that_may_not_be_served_is_not_signed(tmp_path: Path) -> None:
    folder = good(tmp_path / "upload")
    (folder / "w.pkl").write_bytes(b"\x80\x04N.")
    with pytest.raises(ModelRefused, match="a pickle"):
        pack(folder, KEY, RULES)


def test_training_writes_a_folder_that_packs(tmp_path: Path) -> None:
    made = manifest("digits", "7", definition=DEFINITION, samples="samples.safetensors")
    (tmp_path / "weights").write_bytes(save({"ones": np.ones((2, 1), "f4")}))
    samples = save({"x": np.zeros((3, 2), "f4")})
    files: dict[str, bytes | Path] = {}
    files |= {"model.safetensors": tmp_path / "weights", "samples.safetensors": samples}
    folder = write_folder(tmp_path / "new" / "digits", made, files)
    assert json.loads((folder / "manifest.json").read_text()).get("sha256") is None
    packed = pack(folder, KEY, RULES)
    assert packed.manifest.files.keys() == {"model.safetensors", "samples.safetensors"}


def test_folder_is_written_once_and_whole(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "digits", manifest(), {"model.onnx": sums()})
    with pytest.raises(ModelRefused, match="not empty"):
        write_folder(folder, manifest(), {"model.onnx": b"other"})
    assert (folder / "model.onnx").read_bytes() == sums()
    with pytest.raises(ModelRefused, match="No such file"):
        write_folder(tmp_path / "other", manifest(), {"model.onnx": tmp_path / "nothing"})
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "manifest.json", ".x"])
def test_folder_takes_plain_names_alone(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelRefused, match="no plain file name"):
        write_folder(tmp_path / "digits", manifest(), {name: b""})
    assert list(tmp_path.iterdir()) == []
