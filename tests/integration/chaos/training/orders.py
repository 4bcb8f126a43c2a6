"""What is ordered: short runs of a few kinds, that draw random numbers and can be killed at every update.

A run takes its time by sleeping in its module, and goes no further than its third update of a life while
there is no gate file, so that kills find it at work on any machine; a checkpoint comes after every update.
"""

from pathlib import Path
from typing import Any

from chimera.schemas.training_config import TrainingConfig
from tests.workers.training.places import config

_ADAM: dict[str, Any] = {"name": "AdamW", "arguments": {"lr": 0.01}}
_COSINE: dict[str, Any] = {
    "name": "CosineAnnealingLR", "arguments": {"T_max": 40}, "warmup_steps": 4
}  # fmt: skip
KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"optimizer": _ADAM, "scheduler": _COSINE, "loop": {"ema_decay": 0.9}},
    {"loss": {"name": "huber"}, "loop": {"grad_accum_steps": 2, "batch_size": 96}},
    {"optimizer": _ADAM, "loop": {"early_stopping": {"patience": 1, "min_delta": 0.5}}},
)
OFTEN: dict[str, Any] = {"every_minutes": 1e-9, "keep_last": 2}


def wanted(number: int, epochs: int, pause_s: float, gate: Path) -> TrainingConfig:
    """The configuration of the n-th run; each has a seed, and so weights, of its own."""
    kind = KINDS[number % len(KINDS)]
    arguments = {"inputs": 4, "pause_s": pause_s, "gate_file": str(gate)}
    return config(
        **{
            **kind,
            "loop": {"epochs": epochs, **kind.get("loop", {})},
            "model": {"definition": "tests.workers.training.hooks:Noisy", "arguments": arguments},
            "checkpoints": OFTEN,
            "seed": number,
        }
    )
