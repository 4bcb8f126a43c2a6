from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import File
from chimera.schemas.placements import Variant
from chimera.schemas.tiers import GRAPH
from chimera.workers.backends.loaders import OnnxLoader
from chimera.workers.backends.onnx_runtime import OnnxRuntime
from chimera.workers.compiling import targets
from tests.workers.rig import manifest, sums


@pytest.fixture
def variant(tmp_path: Path) -> Variant:
    """A graph that was optimised and saved here."""
    OnnxRuntime("cpu", 1).save_optimised(manifest("sums"), sums(), tmp_path / GRAPH)
    content = (tmp_path / GRAPH).read_bytes()
    file = File(sha256(content).hexdigest(), len(content))
    return Variant("onnx-cpu", str(tmp_path), {GRAPH: file})


def refusal(variant: Variant) -> str:
    with pytest.raises(ModelRefused) as caught:
        OnnxLoader("cpu", 1).open(manifest("sums"), sums(), variant)
    return str(caught.value)


def test_variant_is_opened_under_its_own_name(variant: Variant) -> None:
    backend = OnnxLoader("cpu", 1).open(manifest("sums"), sums(), variant)
    assert backend.tier == "onnx-cpu"
    (found,) = backend.run([np.array([[1, 2], [3, 4]], np.float32)])
    assert found.tolist() == [[3], [7]]


def test_file_that_was_not_verified_is_not_opened(variant: Variant) -> None:
    path = Path(variant.folder) / GRAPH
    path.write_bytes(path.read_bytes() + b"\x00")
    assert "not the file that was verified" in refusal(variant)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("onnx-cuda", "runs on cuda, this is cpu"),
        ("torch-cpu", "needs torch, which this executor has not"),
        ("torch-compiled-cpu", "needs torch"),
        ("onnx-tpu", "there is no tier 'onnx-tpu'"),
    ],
)
def test_what_this_executor_cannot_run_is_refused(variant: Variant, name: str, told: str) -> None:
    assert told in refusal(Variant(name, variant.folder, variant.files))


def test_variant_for_this_machine_is_opened_and_that_of_another_refused(
    variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = structs.replace(variant, target=targets.here("onnxruntime"))
    assert OnnxLoader("cpu", 1).open(manifest("sums"), sums(), own).tier == "onnx-cpu"
    assert "made for cpu-0123, this machine is cpu-" in refusal(
        structs.replace(variant, target="cpu-0123")
    )
    monkeypatch.setattr(targets, "installed", _after_an_update)
    targets.here.cache_clear()
    assert "compile the version again" in refusal(own)
    targets.here.cache_clear()


def _after_an_update(library: str) -> str:
    return f"{library} 99.0"


def test_missing_file_is_refused(variant: Variant, tmp_path: Path) -> None:
    assert "No such file" in refusal(Variant("onnx-cpu", str(tmp_path / "gone"), variant.files))
