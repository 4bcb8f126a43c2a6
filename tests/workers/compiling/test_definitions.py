"""The definitions that come with Chimera: captured, written as ONNX, and the same numbers."""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.workers.backends.onnx_runtime import OnnxRuntime
from chimera.workers.backends.torch_eager import TorchEager
from chimera.workers.compiling.exported import capture, to_onnx
from chimera.workers.definitions.encoder import Encoder
from chimera.workers.definitions.mlp import Mlp

MLP = Manifest(
    "mlp",
    "1",
    (TensorSpec("image", "FP32", (-1, 64)),),
    (TensorSpec("digit", "INT64", (-1,)), TensorSpec("scores", "FP32", (-1, 10))),
    "0" * 64,
)
ENCODER = Manifest(
    "encoder",
    "1",
    (TensorSpec("tokens", "INT64", (-1, 8)),),
    (TensorSpec("scores", "FP32", (-1, 10)),),
    "0" * 64,
)


def inputs(manifest: Manifest, rows: int) -> Any:
    random = np.random.default_rng(rows)
    if manifest is MLP:
        return random.integers(0, 17, (rows, 64)).astype("f4")
    return random.integers(0, 50, (rows, 8))


@pytest.mark.parametrize(
    ("manifest", "make"),
    [
        (MLP, lambda: Mlp()),
        (ENCODER, lambda: Encoder(vocabulary=50, length=8, width=16, heads=2, layers=1)),
    ],
    ids=["mlp", "encoder"],
)
def test_definition_gives_the_same_as_onnx_at_any_batch_size(
    manifest: Manifest, make: type[nn.Module]
) -> None:
    torch.manual_seed(0)
    module = make().requires_grad_(False).eval()
    graph = to_onnx(capture(module, manifest, [inputs(manifest, 2)], 64), manifest)
    onnx = OnnxRuntime("cpu", 1).load(manifest, graph)
    eager = TorchEager("cpu", 1, ()).wrap(manifest, module)
    for rows in (1, 2, 7, 64):
        x = inputs(manifest, rows)
        for wanted, found in zip(eager.run([x]), onnx.run([x]), strict=True):
            assert wanted.dtype == found.dtype
            assert np.allclose(wanted, found, atol=1e-5)


def test_arguments_decide_the_size() -> None:
    small = sum(one.numel() for one in Encoder(width=16, heads=2, layers=1).parameters())
    large = sum(one.numel() for one in Encoder(width=64, heads=2, layers=4).parameters())
    assert large > 5 * small
    assert len(Mlp(inputs=4, hidden=(8, 8, 8), classes=2).layers) == 10
