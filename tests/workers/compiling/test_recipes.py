"""Why a tier is skipped, and which precisions are tried; GPUs are described, as none is here."""

import sys
from pathlib import Path

import pytest

from chimera.schemas.model_settings import CompilingSettings
from chimera.schemas.tiers import BY_NAME, TIERS
from chimera.workers.compiling import recipes
from chimera.workers.compiling.gpu import Gpu
from chimera.workers.compiling.pipeline import Targets, prepare
from chimera.workers.compiling.workshop import Workshop
from chimera.workers.models import write_model
from tests.workers.compiling import two_heads
from tests.workers.rig import manifest, sums

HOPPER = Gpu("cuda:0", "any", (9, 0), "13.0")
VOLTA = Gpu("cuda:0", "any", (7, 0), "13.0")
PASCAL = Gpu("cuda:0", "any", (6, 1), "13.0")
SETTINGS = CompilingSettings()


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return prepare(two_heads.write(tmp_path), Targets(device="cuda:99"), SETTINGS)


def test_processor_needs_nothing(workshop: Workshop) -> None:
    assert [recipes.obstacle(tier, workshop) for tier in TIERS[6:]] == ["", "", ""]


def test_without_a_gpu_its_tiers_say_so(workshop: Workshop) -> None:
    found = {recipes.obstacle(tier, workshop) for tier in TIERS[:6]}
    assert found <= {"no GPU cuda:99", "this build of torch knows no CUDA"}
    assert len(found) == 1


def test_without_a_compiler_the_packages_say_so(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    workshop.gpu = HOPPER
    found = {tier.name: recipes.obstacle(tier, workshop) for tier in TIERS[3:]}
    assert found == {
        "onnx-cuda": "",
        "torch-compiled-cuda": "no C++ compiler",
        "torch-cuda": "",
        "onnx-cpu": "",
        "torch-compiled-cpu": "no C++ compiler",
        "torch-cpu": "",
    }


def test_without_a_key_there_is_no_native_code(tmp_path: Path) -> None:
    targets = Targets(device="cuda:99", native=False)
    workshop = prepare(two_heads.write(tmp_path), targets, SETTINGS)
    found = [recipes.obstacle(tier, workshop) for tier in TIERS[6:]]
    assert found == ["", "no signing key", ""]
    assert [tier.number for tier in TIERS if tier.native] == [1, 2, 3, 5, 8]


def test_without_tensorrt_its_tiers_say_so(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.gpu = HOPPER
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # as if it could not be imported
    found = {recipes.obstacle(tier, workshop) for tier in TIERS[:3]}
    assert found == {"tensorrt is not installed"}


def test_graph_has_no_torch_tiers(tmp_path: Path) -> None:
    folder = write_model(tmp_path, sums(), manifest("sums"))
    workshop = prepare(folder, Targets(), SETTINGS)
    workshop.gpu = HOPPER
    for name in ("torch-compiled-cuda", "torch-cuda", "torch-compiled-cpu", "torch-cpu"):
        assert recipes.obstacle(BY_NAME[name], workshop) == "no torch definition"


@pytest.mark.parametrize(
    ("gpu", "name", "precisions"),
    [
        (HOPPER, "tensorrt-fp16", ("fp16",)),
        (HOPPER, "tensorrt-fp32", ("fp32",)),
        (HOPPER, "onnx-cuda", ("fp32", "fp16")),
        (HOPPER, "torch-cuda", ("fp32", "bf16")),
        (VOLTA, "torch-compiled-cuda", ("fp32", "fp16")),
        (PASCAL, "torch-cuda", ("fp32",)),
        (PASCAL, "onnx-cpu", ("fp32", "int8")),
        (PASCAL, "torch-cpu", ("fp32",)),
    ],
)
def test_precisions_are_those_that_the_device_has_units_for(
    workshop: Workshop, gpu: Gpu, name: str, precisions: tuple[str, ...]
) -> None:
    workshop.gpu = gpu
    assert recipes.precisions(BY_NAME[name], workshop) == precisions


def test_int8_can_be_left_out(workshop: Workshop) -> None:
    workshop.int8 = False
    assert recipes.precisions(BY_NAME["onnx-cpu"], workshop) == ("fp32",)


def test_targets_of_code_with_threads_built_in_name_them(workshop: Workshop) -> None:
    workshop.gpu = HOPPER
    keys = {tier.name: recipes.target(tier, workshop) for tier in TIERS}
    assert keys["torch-compiled-cpu"] != keys["torch-cpu"]
    assert keys["onnx-cuda"] == keys["onnx-tensorrt"] != keys["torch-cuda"]
    assert all(keys[tier.name].startswith(tier.device) for tier in TIERS)


def test_batch_sizes_are_within_what_the_model_takes(tmp_path: Path) -> None:
    folder = write_model(
        tmp_path, sums(), manifest("sums", max_batch_size=40, preferred_batch_size=(8, 64))
    )
    workshop = prepare(folder, Targets(max_rows=500), SETTINGS)
    assert (workshop.max_rows, workshop.buckets) == (40, (1, 8, 32))
