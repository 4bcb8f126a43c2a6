"""Between numpy and torch: a batch in, a batch out, and torch's errors as the tree's own.

What the torch tiers share. numpy has no BF16, so such inputs travel as float32 and are narrowed here.
`tests/workers/backends/test_torch_backends.py`.
"""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from chimera.schemas.errors import ChimeraError, ConfigurationError, ModelFailed, OutOfMemory
from chimera.schemas.manifest import Manifest
from chimera.schemas.tensors import DATATYPES, Array
from chimera.workers.backends.protocol import DeviceLost

_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "bad_alloc")
_LOST = (
    "illegal memory access",
    "unspecified launch failure",
    "device-side assert",
    "misaligned address",
    "uncorrectable ecc",
    "hardware stack error",
    "device is lost",
)


def device_of(name: str) -> torch.device:
    """`cpu` or `cuda:<index>`.

    Raises:
        ConfigurationError: there is no such device, or it cannot be used.
    """
    kind, _, index = name.partition(":")
    if kind == "cpu":
        return torch.device("cpu")
    if kind != "cuda":
        raise ConfigurationError(f"device {name!r}: should be cpu or cuda:<index>")
    if not torch.cuda.is_available() or int(index or 0) >= torch.cuda.device_count():
        raise ConfigurationError(f"device {name}: cannot be used: torch sees no such GPU")
    return torch.device(name)


class TorchCall:
    """Something callable on tensors of `device`, called with arrays."""

    def __init__(
        self, call: Callable[..., Any], manifest: Manifest, device: torch.device, tier: str
    ) -> None:
        self.tier = tier
        self._call = call
        self._device = device
        self._narrow = are_bf16(manifest)
        self._dtypes = [DATATYPES[spec.datatype].dtype for spec in manifest.outputs]

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """See `Backend`. Raises OutOfMemory, ModelFailed, DeviceLost."""
        try:
            with torch.inference_mode():
                tensors = [
                    self._tensor(array, narrow)
                    for array, narrow in zip(inputs, self._narrow, strict=True)
                ]
                outputs = self._call(*tensors)
                found: Sequence[Tensor] = [outputs] if isinstance(outputs, Tensor) else outputs
                return [self._array(tensor, at) for at, tensor in enumerate(found)]
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  # a model's own code may raise anything
            raise translate(error) from None

    def _tensor(self, array: Array, narrow: bool) -> Tensor:
        # torch warns about memory that it may not write to, as that of a request is
        tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
        return tensor.to(self._device, torch.bfloat16 if narrow else None)

    def _array(self, tensor: Tensor, at: int) -> Array:
        if tensor.dtype is torch.bfloat16:
            tensor = tensor.float()
        array: Array = tensor.cpu().numpy()
        return array.astype(self._dtypes[at], copy=False) if at < len(self._dtypes) else array


def are_bf16(manifest: Manifest) -> list[bool]:
    """Of each input, whether it travels as float32 and is narrowed for torch."""
    return [spec.datatype == "BF16" for spec in manifest.inputs]


def translate(error: Exception) -> ChimeraError:
    """The tree's error for one of torch's."""
    text = str(error).lower()
    if any(sign in text for sign in _LOST):
        return DeviceLost(first_line(error))
    if isinstance(error, torch.OutOfMemoryError) or any(sign in text for sign in _MEMORY):
        return OutOfMemory(first_line(error))
    return ModelFailed(first_line(error))


def first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:500]
