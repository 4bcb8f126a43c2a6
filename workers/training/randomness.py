"""The random numbers of a run: seeded together, kept with a checkpoint, and put back.

`deterministic` asks torch for algorithms that give equal bits; on a CPU that holds for one number of
threads and one kind of processor. `tests/workers/training/test_run.py` trains twice.
"""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

import os
import random
from typing import Any

import numpy as np
import torch

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


def seed(value: int, *, deterministic: bool) -> None:
    """Python's, numpy's and torch's generators, of all devices."""
    random.seed(value)
    np.random.seed(value)  # users' transforms and modules may draw from it
    torch.manual_seed(value)
    if deterministic:
        os.environ.setdefault(CUBLAS, ":4096:8")  # cuBLAS wants it before it begins
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.benchmark = not deterministic


def state() -> dict[str, Any]:
    """For a checkpoint."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore(found: dict[str, Any]) -> None:
    """What `state` gave."""
    version, numbers, gauss = found["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = found["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), position, has_gauss, cached))
    torch.set_rng_state(found["torch"])
    if found["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(found["cuda"])
