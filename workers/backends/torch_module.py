"""A version's torch module: its definition from the allow-list, its weights from safetensors.

Importing a definition runs its code, so a manifest may name only what the settings list; weights are
plain numbers and fit strictly: the same names, shapes and types, none missing and none over. The
module is in evaluation mode. `tests/workers/backends/test_torch_module.py`.
"""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from chimera.schemas.definitions import require_allowed
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import WEIGHTS_FILE, Manifest


def load(manifest: Manifest, weights: bytes, definitions: Sequence[str]) -> nn.Module:
    """The module on the processor, in the weights' own types, ready to run.

    Raises:
        ModelRefused: the definition is not allowed, or not what the manifest says; the weights are
            no safetensors, or do not fit.
        ConfigurationError: the list of definitions has a line that is none.
    """
    path = f"{manifest.name}/{manifest.version}/{WEIGHTS_FILE}"
    factory = _factory(manifest, definitions)
    try:
        module: Any = factory(**manifest.arguments)
    except Exception as error:  # noqa: BLE001  # a definition's own code may raise anything
        raise ModelRefused(f"{manifest.definition}: {type(error).__name__}: {error}") from None
    if not isinstance(module, nn.Module):
        raise ModelRefused(f"{manifest.definition}: gives a {type(module).__name__}, no module")
    try:
        state = load_tensors(weights)
    except SafetensorError as error:
        raise ModelRefused(f"{path}: {error}") from None
    _require_fit(path, module, state)
    module.load_state_dict(state, strict=True)
    return module.requires_grad_(False).eval()


def _factory(manifest: Manifest, definitions: Sequence[str]) -> Callable[..., object]:
    require_allowed(manifest.definition, definitions)
    module_name, _, name = manifest.definition.partition(":")
    try:
        factory: object = getattr(importlib.import_module(module_name), name, None)
    except ImportError as error:
        raise ModelRefused(f"{manifest.definition}: {error}") from None
    if not callable(factory):
        raise ModelRefused(f"{manifest.definition}: there is no such factory")
    return factory


def _require_fit(path: str, module: nn.Module, state: dict[str, Tensor]) -> None:
    wanted = module.state_dict()
    if missing := sorted(wanted.keys() - state.keys()):
        raise ModelRefused(f"{path}: lacks {missing[:5]}")
    if extra := sorted(state.keys() - wanted.keys()):
        raise ModelRefused(f"{path}: also has {extra[:5]}")
    for name, tensor in wanted.items():
        is_like = state[name].shape == tensor.shape and state[name].dtype == tensor.dtype
        if not is_like:
            raise ModelRefused(
                f"{path}: {name!r} is {_told(state[name])}, the definition has {_told(tensor)}"
            )


def _told(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
