"""Torch's backends: numbers in and out, errors as the tree's own, half precision."""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chimera.schemas.errors import ConfigurationError, ModelFailed, OutOfMemory
from chimera.schemas.manifest import TensorSpec
from chimera.schemas.tensors import DATATYPES, Array
from chimera.workers.backends.protocol import DeviceLost
from chimera.workers.backends.torch_calls import TorchCall, device_of, translate
from chimera.workers.backends.torch_eager import TorchEager
from chimera.workers.backends.torch_narrowed import narrowed
from tests.workers.compiling import two_heads
from tests.workers.rig import manifest

X = np.random.default_rng(0).standard_normal((4, 6)).astype("f4")


def eager() -> TorchCall:
    runtime = TorchEager("cpu", 1, two_heads.ALLOWED)
    return runtime.load(two_heads.manifest(), two_heads.weights())


def test_eager_runs_the_module_as_it_is_written() -> None:
    backend = eager()
    torch.manual_seed(4)
    with torch.inference_mode():
        wanted = two_heads.TwoHeads()(torch.from_numpy(X))
    for found, expected in zip(backend.run([X]), wanted, strict=True):
        assert np.array_equal(found, expected.numpy())
    assert backend.tier == "torch-cpu"


def test_memory_that_may_not_be_written_to_is_taken() -> None:
    frozen = np.frombuffer(X.tobytes(), "f4").reshape(X.shape)
    assert np.array_equal(eager().run([frozen])[0], eager().run([X])[0])


@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name != "BYTES"])
def test_every_datatype_of_numbers_goes_through(datatype: str) -> None:
    specs: dict[str, Any] = {
        "inputs": (TensorSpec("x", datatype, (-1, 2)),),
        "outputs": (TensorSpec("y", datatype, (-1, 2)),),
    }
    array: Array = np.array([[0, 1], [1, 0]]).astype(DATATYPES[datatype].dtype)
    backend = TorchCall(nn.Identity(), manifest(**specs), device_of("cpu"), "any")
    (found,) = backend.run([array])
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def test_batch_that_the_module_refuses_is_its_failure() -> None:
    with pytest.raises(ModelFailed, match="mat1 and mat2"):
        eager().run([X[:, :5]])


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (RuntimeError("[enforce fail at alloc_cpu.cpp] not enough memory: 1 bytes"), OutOfMemory),
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), DeviceLost),
        (RuntimeError("CUDA error: device-side assert triggered"), DeviceLost),
        (KeyError("x"), ModelFailed),
    ],
)
def test_errors_are_the_trees_own(raised: Exception, error: type[Exception]) -> None:
    assert type(translate(raised)) is error


def test_failed_allocation_is_out_of_memory() -> None:
    class Hungry(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.empty(1 << 60) + x

    backend = TorchEager("cpu", 1, ()).wrap(manifest(), Hungry())
    with pytest.raises(OutOfMemory):
        backend.run([X])


@pytest.mark.parametrize("device", ["cuda:99", "tpu:0"])
def test_device_that_is_not_there_is_a_wrong_setting(device: str) -> None:
    with pytest.raises(ConfigurationError, match=device):
        TorchEager(device, 1, ())


@pytest.mark.parametrize(("precision", "error"), [("bf16", 5e-2), ("fp16", 5e-3)])
def test_half_precision_takes_and_gives_floats(precision: str, error: float) -> None:
    runtime = TorchEager("cpu", 1, two_heads.ALLOWED, precision)  # type: ignore[arg-type]  # one of them
    backend = runtime.load(two_heads.manifest(), two_heads.weights())
    assert backend.tier == f"torch-cpu-{precision}"
    for found, wanted in zip(backend.run([X]), eager().run([X]), strict=True):
        assert found.dtype == np.float32
        assert 0 < np.abs(found - wanted).max() < error


def test_full_precision_is_the_same_module() -> None:
    module = nn.Linear(2, 2)
    assert narrowed(module, "fp32") is module
    assert narrowed(module, "bf16") is not module
    assert module.weight.dtype == torch.float32
