from chimera.schemas.placements import Orders, Placement, Variant
from chimera.workers.kinds import ONNX, TORCH, entry


def placed(**p99_us: float) -> Placement:
    """A version with these variants (names with _ for -), measured at one row."""
    variants = [
        Variant(name.replace("_", "-"), "f", p99_us={1: time}) for name, time in p99_us.items()
    ]
    return Placement("m", "1", "d" * 64, "f", tuple(variants))


def test_folder_of_models_and_sources_need_no_torch() -> None:
    assert entry(None, "cpu") == ONNX
    assert entry(Orders((placed(),)), "cpu") == ONNX


def test_version_that_is_fastest_in_torch_needs_it() -> None:
    assert entry(Orders((placed(onnx_cpu=9.0, torch_compiled_cpu=5.0),)), "cpu") == TORCH
    assert entry(Orders((placed(onnx_cpu=5.0, torch_compiled_cpu=9.0),)), "cpu") == ONNX
    assert entry(Orders((placed(onnx_cpu=5.0), placed(torch_cpu=9.0))), "cpu") == TORCH


def test_only_variants_of_the_device_count() -> None:
    orders = Orders((placed(onnx_cpu=5.0, torch_cuda=1.0),))
    assert entry(orders, "cpu") == ONNX
    assert entry(orders, "cuda:1") == TORCH


def test_unknown_and_experimental_variants_do_not_count() -> None:
    assert entry(Orders((placed(onnx_tpu=1.0, tensorrt_fp16=1.0),)), "cuda:0") == ONNX
