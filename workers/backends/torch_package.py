"""Tiers 5 and 8: an AOTInductor package, native code that torch compiled ahead of time.

It needs no compiler and no definition any more, and it runs whatever it holds: a package may be
loaded only if it was made here, which its signature shows (`workers/placed.py`). On a GPU this was never
run here: none was at hand. `tests/workers/compiling/test_pipeline.py` loads one.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false
# (torch's functions are typed in part; its stubs have `_aoti` in a file that they never import)

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chimera.schemas.compile_report import Precision, variant
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import Manifest
from chimera.workers.backends.torch_calls import TorchCall, device_of, first_line

MODEL = "model"  # how torch calls the one program of a package


class TorchPackage:
    """Loads packages on `device`: `cpu` or `cuda:<index>`."""

    def __init__(self, device: str, threads: int, precision: Precision = "fp32") -> None:
        """Raises ConfigurationError: there is no such device, or it cannot be used."""
        self._device = device_of(device)
        self._precision: Precision = precision
        torch.set_num_threads(threads)

    def load(self, manifest: Manifest, path: Path) -> TorchCall:
        """Of a file, not of its bytes: the system's loader maps it.

        Raises:
            ModelRefused: it is no package, or one for another machine.
        """
        index = self._device.index if self._device.type == "cuda" else -1
        try:
            package = _Package(str(path), index)
        except Exception as error:  # noqa: BLE001  # its exceptions share no other class
            raise ModelRefused(f"{path}: {first_line(error)}") from None
        tier = "torch-compiled-cpu" if self._device.type == "cpu" else "torch-compiled-cuda"
        return TorchCall(package, manifest, self._device, variant(tier, self._precision))


class _Package:
    """Tensors in, tensors out, in the manifest's order.

    torch's own `aoti_load_package` wraps the same loader, but imports the compiler for it, which
    takes as long as torch itself, and reads the call's structure from JSON at each call.
    """

    def __init__(self, path: str, device_index: int) -> None:
        loader: Any = torch._C._aoti.AOTIModelPackageLoader
        self._loader = loader(path, MODEL, True, 1, device_index)

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        found: list[Tensor] = self._loader.boxed_run(list(tensors))
        return found
