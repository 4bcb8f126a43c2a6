"""A module in half precision that still takes and gives what its manifest says.

Floats are narrowed on their way in and widened on their way out; integers pass. It can be exported
like any module. `tests/workers/backends/test_torch_backends.py`.
"""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

import copy
from typing import Any

import torch
from torch import Tensor, nn

from chimera.schemas.compile_report import Precision

DTYPES: dict[Precision, torch.dtype] = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Narrowed(nn.Module):
    """`module` itself stays as it is."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).to(dtype)
        self.dtype = dtype

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs: Any = self.module(*(self._narrow(tensor) for tensor in inputs))
        found: tuple[Tensor, ...] = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
        return tuple(tensor.float() if tensor.is_floating_point() else tensor for tensor in found)

    def _narrow(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor


def narrowed(module: nn.Module, precision: Precision) -> nn.Module:
    """The module in a precision; in fp32 it is the same one."""
    dtype = DTYPES.get(precision)
    return module if dtype is None else Narrowed(module, dtype)
