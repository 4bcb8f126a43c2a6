"""A small torch module whose every part can be damaged in what is made of it, and a version of it."""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.workers.models import write_model

DEFINITION = "tests.workers.compiling.two_heads:TwoHeads"
ALLOWED = ("tests.workers.compiling.two_heads:*",)


class TwoHeads(nn.Module):
    """Two heads of one shape: whoever swaps them gives no other shapes.

    No tensor is so small that a compiler would write its numbers into the code.
    """

    def __init__(self, inputs: int = 6, width: int = 12, outputs: int = 3) -> None:
        super().__init__()
        self.body = nn.Linear(inputs, width)
        self.slope = nn.Parameter(torch.rand(width) / 4)
        self.left = nn.Linear(width, outputs, bias=False)
        self.right = nn.Linear(width, outputs, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden: Tensor = self.body(x)
        hidden = torch.where(hidden > 0, hidden, hidden * self.slope)
        return self.left(hidden), self.right(hidden)


class Branches(nn.Module):
    """Takes a way that depends on its numbers: nothing can capture it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x) if float(x.sum()) > 0 else -self.layer(x)
        return found


def manifest(name: str = "heads", **fields: object) -> Manifest:
    given: dict[str, object] = {
        "inputs": (TensorSpec("x", "FP32", (-1, 6)),),
        "outputs": (TensorSpec("l", "FP32", (-1, 3)), TensorSpec("r", "FP32", (-1, 3))),
        "max_batch_size": 16,
        "definition": DEFINITION,
        "samples": "samples.safetensors",
        **fields,
    }
    return Manifest(name, "1", sha256="0" * 64, **given)  # type: ignore[arg-type]  # of any field


def weights(module: nn.Module | None = None) -> bytes:
    torch.manual_seed(4)
    return save_tensors((module or TwoHeads()).state_dict())


def samples() -> bytes:
    random = np.random.default_rng(4)
    return save_arrays({"x": random.standard_normal((40, 6)).astype("f4")})


def write(models_dir: Path) -> Path:
    """The version's folder."""
    return write_model(models_dir, weights(), manifest(), {"samples.safetensors": samples()})
