"""The module that is trained: found by its import path, and seen as one function of one batch.

`tests/workers/training/test_run.py`.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (torch's functions are typed in part)

import importlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from chimera.schemas.definitions import require_allowed
from chimera.schemas.errors import ModelRefused, TrainingRefused
from chimera.schemas.training_config import Model


class Trained(nn.Module):
    """A module's method as `forward`, which is what torch's wrappers see."""

    def __init__(self, module: nn.Module, method: str, *, gradient_checkpointing: bool) -> None:
        super().__init__()
        self.module = module
        self._method, self._checkpointing = method, gradient_checkpointing

    def forward(self, features: Tensor) -> Tensor:
        call: Any = getattr(self.module, self._method)
        if self._checkpointing and self.training and torch.is_grad_enabled():
            found: Any = checkpoint(call, features, use_reentrant=False)
        else:
            found = call(features)
        if not isinstance(found, Tensor):
            raise TrainingRefused(
                f"model.method {self._method!r} gives a {type(found).__name__}, not one tensor:"
                " name the method whose output the loss is to see"
            )
        return found


def load(path: str, allowed: Iterable[str]) -> Any:
    """What an import path names. Raises TrainingRefused: it is not allowed, or not there."""
    try:
        require_allowed(path, allowed, "CHIMERA_TRAINING__ALLOWED")
    except ModelRefused as error:
        raise TrainingRefused(str(error)) from None
    where, name = path.split(":")
    try:
        return getattr(importlib.import_module(where), name)
    except (ImportError, AttributeError) as error:
        raise TrainingRefused(f"{path}: {error}") from None


def _immutable(found: Any) -> Any:
    """Lists, which is what YAML has, as tuples, which is what a default in Python is."""
    return tuple(found) if isinstance(found, list) else found  # pyright: ignore[reportUnknownArgumentType]  # of anything


def make(wanted: Model, allowed: Iterable[str], *, gradient_checkpointing: bool = False) -> Trained:
    """Raises TrainingRefused: it is no module, takes no such argument, or has no such method."""
    kind = load(wanted.definition, allowed)
    arguments = {name: _immutable(one) for name, one in wanted.arguments.items()}
    try:
        module = kind(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TrainingRefused(f"model.arguments of {wanted.definition}: {error}") from None
    if not isinstance(module, nn.Module):
        raise TrainingRefused(f"model.definition {wanted.definition} makes no torch module")
    if not callable(getattr(module, wanted.method, None)):
        raise TrainingRefused(f"model.method: {wanted.definition} has no {wanted.method!r}")
    return Trained(module, wanted.method, gradient_checkpointing=gradient_checkpointing)
