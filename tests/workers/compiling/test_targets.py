"""Keys of machines: the same for the same machine, another for anything that matters."""

from chimera.schemas.tiers import BY_NAME
from chimera.workers.compiling.targets import (
    cpu_flags,
    cpu_target,
    gpu_target,
    here,
    machine,
    of_cpu,
)

CPUINFO = """processor\t: 0
model name\t: Some Processor
flags\t\t: fpu sse2 avx2 constant_tsc avx512f sha_ni ibpb pti
bugs\t\t: none

processor\t: 1
flags\t\t: fpu
"""


def test_flags_are_the_instructions_of_the_first_processor() -> None:
    assert cpu_flags(CPUINFO) == {"sse2", "avx2", "avx512f", "sha_ni"}
    assert cpu_flags("Features\t: fp asimd\n") == {"fp", "asimd"}
    assert cpu_flags("") == frozenset()


def test_processor_key_has_a_known_value_and_no_order() -> None:
    assert cpu_target("x86_64", ["avx2", "fma"], "torch 2.8.0") == "cpu-0f943c712f82db2d"
    assert cpu_target("x86_64", ["fma", "avx2", "fma"], "torch 2.8.0") == "cpu-0f943c712f82db2d"


def test_processor_key_is_another_where_anything_is() -> None:
    keys = {
        cpu_target("x86_64", ["avx2"], "torch 2.8.0"),
        cpu_target("aarch64", ["avx2"], "torch 2.8.0"),
        cpu_target("x86_64", ["avx2", "avx512f"], "torch 2.8.0"),
        cpu_target("x86_64", ["avx2"], "torch 2.9.0"),
        cpu_target("x86_64", ["avx2"], "torch 2.8.0", threads=2),
    }
    assert len(keys) == 5


def test_gpu_key_is_another_where_anything_is() -> None:
    keys = {
        gpu_target("A", (9, 0), "13.0", "torch 2.8.0"),
        gpu_target("B", (9, 0), "13.0", "torch 2.8.0"),
        gpu_target("A", (8, 0), "13.0", "torch 2.8.0"),
        gpu_target("A", (9, 0), "12.8", "torch 2.8.0"),
        gpu_target("A", (9, 0), "13.0", "tensorrt 11.4"),
    }
    assert len(keys) == 5
    assert all(key.startswith("cuda-") for key in keys)


def test_this_machine_has_a_key_for_each_library() -> None:
    assert here("torch") == here("torch")
    assert len({here("torch"), here("onnxruntime"), here("torch", 2)}) == 3


def test_threads_are_in_the_key_of_code_that_has_them_built_in() -> None:
    keys = {of_cpu(BY_NAME["torch-compiled-cpu"], threads) for threads in (1, 2)}
    assert len(keys) == 2
    assert of_cpu(BY_NAME["onnx-cpu"], 1) == of_cpu(BY_NAME["onnx-cpu"], 2) == here("onnxruntime")


def test_machine_names_versions_and_no_host() -> None:
    found = machine()
    assert found["processor"]
    assert found["torch"][0].isdigit()
    assert int(found["cores"]) >= 1
