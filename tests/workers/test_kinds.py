from msgspec import structs

from chimera.schemas.placements import Orders, Placement, Variant
from chimera.schemas.tiers import BY_NAME
from chimera.workers.compiling.targets import of_cpu
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


def test_all_batch_sizes_that_were_measured_decide() -> None:
    onnx = Variant("onnx-cpu", "f", p99_us={1: 5.0, 256: 500.0})
    torch = Variant("torch-compiled-cpu", "f", p99_us={1: 9.0, 256: 300.0})
    assert entry(Orders((Placement("m", "1", "d" * 64, "f", (onnx, torch)),)), "cpu") == TORCH
    slower = structs.replace(torch, p99_us={1: 9.0, 256: 499.0})
    assert entry(Orders((Placement("m", "1", "d" * 64, "f", (onnx, slower)),)), "cpu") == ONNX


def test_fallback_has_torch_wherever_a_tier_needs_it() -> None:
    orders = Orders((placed(onnx_cpu=5.0, torch_cpu=9.0),))
    assert entry(orders, "cpu", has_fallback=True) == TORCH
    assert entry(orders, "cuda:0", has_fallback=True) == ONNX
    assert entry(Orders((placed(onnx_cpu=5.0),)), "cpu", has_fallback=True) == ONNX


def test_variant_for_another_machine_does_not_count() -> None:
    version = placed(onnx_cpu=5.0, torch_cpu=9.0)
    onnx, torch = version.variants
    own = structs.replace(onnx, target=of_cpu(BY_NAME["onnx-cpu"], 1))
    anywhere = structs.replace(torch, target="cpu-0123")  # its files are the version's own
    for variants, kind in (
        ((own, anywhere), ONNX),
        ((structs.replace(onnx, target="cpu-0123"), anywhere), TORCH),
    ):
        assert entry(Orders((structs.replace(version, variants=variants),)), "cpu") == kind
