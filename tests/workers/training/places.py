"""Small data sets, and runs on them; whoever only orders runs imports no torch for it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from chimera.schemas.training_config import TrainingConfig

if TYPE_CHECKING:
    import pandas as pd

    from chimera.workers.training.run import Where

ALLOWED = (
    "chimera.workers.definitions.mlp:*",
    "torch.nn:Linear",
    "tests.workers.training.hooks:*",
)

REGRESSION: dict[str, Any] = {
    "name": "line",
    "task": "regression",
    "data": {"sources": ["synthetic:600,4"], "schema": {"features": ["x*"], "target": "y"}},
    "model": {
        "definition": "torch.nn:Linear",
        "arguments": {"in_features": 4, "out_features": 1},
    },
    "loss": {"name": "mse"},
    "optimizer": {"name": "SGD", "arguments": {"lr": 0.1}},
    "loop": {"epochs": 3, "batch_size": 64, "threads": 1},
    "evaluation": {"bootstrap": 20},
}


def config(**changes: Any) -> TrainingConfig:
    """`REGRESSION`, with fields of its sections changed: `loop={"epochs": 1}`."""
    order = dict(REGRESSION)
    for name, change in changes.items():
        known: Any = order.get(name)
        order[name] = {**known, **change} if isinstance(known, dict) else change
    return msgspec.convert(order, TrainingConfig)


def where(runs: Path, run_id: str = "one") -> "Where":
    from chimera.workers.training.run import Where

    return Where(runs=runs, run_id=run_id, allowed=ALLOWED)


def frame(rows: int = 40, seed: int = 0) -> "pd.DataFrame":
    """Columns a, b, group and y."""
    import numpy as np
    import pandas as pd

    drawn = np.random.default_rng(seed)
    found = pd.DataFrame(drawn.standard_normal((rows, 2)), columns=["a", "b"])
    found["group"] = np.where(found["a"] > 0, "high", "low")
    found["y"] = found["a"] - found["b"]
    return found
