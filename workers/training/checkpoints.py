"""Checkpoints: all that a run needs to go on as if it had never stopped; no pickle anywhere.

    checkpoints/00000420/   update 420
      tensors.safetensors   model.*, optimizer.*, ema.*, rng.*
      state.json            everything else; where in which epoch, what was best
    checkpoints/best        a link to one of them

A folder is written under another name, synced, and renamed: there is a whole checkpoint or none. Each
says whether it is the best so far, and the link is made anew where it names an earlier one. The best
one and the last k stay. `tests/workers/training/test_checkpoints.py` kills it at each step.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (torch's functions are typed in part)

import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from chimera.schemas.errors import TrainingRefused

TENSORS, STATE, BEST = "tensors.safetensors", "state.json", "best"

Stateful = Mapping[str, Any]


class CheckpointSaver:
    """Of one run's folder."""

    def __init__(self, folder: Path, keep_last: int = 2, every_s: float | None = None) -> None:
        self._folder, self._keep_last, self._every_s = folder, keep_last, every_s
        self._saved_s = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        self._heal()

    def is_due(self) -> bool:
        """Whether so much time has passed since the last one."""
        return self._every_s is not None and time.monotonic() - self._saved_s >= self._every_s

    def save(self, update: int, state: Stateful, *, is_best: bool = False) -> Path:
        """`state` holds tensors, numbers and texts, in dicts and lists."""
        tensors: dict[str, Tensor] = {}
        rest = _apart(state, "", tensors)
        target = self._folder / f"{update:08d}"
        writing = self._folder / f".{target.name}.{os.getpid()}"
        shutil.rmtree(writing, ignore_errors=True)
        writing.mkdir()
        save_file({name: one.contiguous() for name, one in tensors.items()}, writing / TENSORS)
        (writing / STATE).write_text(json.dumps(rest | {_IS_BEST: is_best}))
        for file in (writing / TENSORS, writing / STATE, writing):
            _sync(file)
        if target.exists():  # the same update again, after a resume: equal, but for its clock
            shutil.rmtree(target)
        writing.rename(target)
        if is_best:
            self._mark_best(target)
        _sync(self._folder)
        self._saved_s = time.monotonic()
        self._forget()
        return target

    def newest(self) -> Path | None:
        """The last whole one."""
        found = self._whole()
        return found[-1] if found else None

    def best(self) -> Path | None:
        link = self._folder / BEST
        return link.resolve() if link.exists() else None

    def _mark_best(self, target: Path) -> None:
        link = self._folder / f".{BEST}.{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(target.name)
        link.replace(self._folder / BEST)

    def _heal(self) -> None:
        """Who was ended between a checkpoint and its link has left the link where it was."""
        best = next((one for one in reversed(self._whole()) if _is_best(one)), None)
        if best is not None and self.best() != best.resolve():
            self._mark_best(best)

    def _whole(self) -> list[Path]:
        return sorted(one for one in self._folder.iterdir() if one.name.isdigit())

    def _forget(self) -> None:
        """What is neither the best nor among the last; and what others left half written."""
        kept = {self.best(), *self._whole()[-self._keep_last :]}
        for one in self._folder.iterdir():
            is_checkpoint = one.name.isdigit() and one.resolve() not in {
                path.resolve() for path in kept if path is not None
            }
            if is_checkpoint or (one.name.startswith(".") and one.is_dir()):
                shutil.rmtree(one, ignore_errors=True)


def read(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `save` was given.

    Raises:
        TrainingRefused: it is no checkpoint, or a damaged one.
    """
    try:
        with safe_open(folder / TENSORS, "pt", device=str(device)) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
        found = _together(json.loads((folder / STATE).read_text()), tensors)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise TrainingRefused(f"{folder}: no whole checkpoint: {error}") from None
    if not isinstance(found, dict):
        raise TrainingRefused(f"{folder}: no whole checkpoint")
    found.pop(_IS_BEST, None)
    return found


_TENSOR, _PAIRS, _IS_BEST = "__tensor__", "__pairs__", "__is_best__"


def _is_best(folder: Path) -> bool:
    """One that is damaged is nobody's best; who reads it is told."""
    try:
        found = json.loads((folder / STATE).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get(_IS_BEST) is True


def _apart(found: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """JSON in which tensors are names; dicts by other keys than texts are lists of pairs."""
    if isinstance(found, Tensor):
        name = f"{path}#{len(tensors)}"
        tensors[name] = found.detach().clone()
        return {_TENSOR: name}
    if isinstance(found, Mapping):
        parts = [(key, _apart(one, f"{path}.{key}", tensors)) for key, one in found.items()]
        if all(isinstance(key, str) for key, _ in parts):
            return dict(parts)
        return {_PAIRS: parts}
    if isinstance(found, list | tuple):
        return [_apart(one, path, tensors) for one in found]
    if found is None or isinstance(found, bool | int | float | str):
        return found
    raise TypeError(f"{path}: a checkpoint holds no {type(found).__name__}")


def _together(found: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(found, list):
        return [_together(one, tensors) for one in found]
    if not isinstance(found, dict):
        return found
    if _TENSOR in found:
        return tensors[found[_TENSOR]]
    if _PAIRS in found:
        return {key: _together(one, tensors) for key, one in found[_PAIRS]}
    return {key: _together(one, tensors) for key, one in found.items()}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
