"""Tiers 6 and 9: the module as it is written, run by torch.

The processor's, in fp32, is the reference that everything else is verified against. `threads` is of
the whole process, as torch has one pool. On a GPU this was never run here: none was at hand.
`tests/workers/backends/test_torch_backends.py`.
"""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

from collections.abc import Sequence

import torch
from torch import nn

from chimera.schemas.compile_report import Precision, variant
from chimera.schemas.manifest import Manifest
from chimera.workers.backends import torch_module
from chimera.workers.backends.torch_calls import TorchCall, device_of
from chimera.workers.backends.torch_narrowed import narrowed


class TorchEager:
    """Loads modules on `device`: `cpu` or `cuda:<index>`; `load` is that of `Loader`."""

    def __init__(
        self,
        device: str,
        threads: int,
        definitions: Sequence[str],
        precision: Precision = "fp32",
    ) -> None:
        """Raises ConfigurationError: there is no such device, or it cannot be used."""
        self._device = device_of(device)
        self._definitions = definitions
        self._precision: Precision = precision
        torch.set_num_threads(threads)

    def load(self, manifest: Manifest, model: bytes) -> TorchCall:
        """`model`: the weights. Raises ModelRefused."""
        return self.wrap(manifest, torch_module.load(manifest, model, self._definitions))

    def wrap(self, manifest: Manifest, module: nn.Module) -> TorchCall:
        """A module that was loaded before."""
        tier = "torch-cpu" if self._device.type == "cpu" else "torch-cuda"
        moved = narrowed(module, self._precision).to(self._device)
        return TorchCall(moved, manifest, self._device, variant(tier, self._precision))
