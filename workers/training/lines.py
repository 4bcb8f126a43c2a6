"""What a trainer and its agent say to each other: an order in, lines of JSON out. Knows no torch.

`tests/agents/training/test_agent.py`.
"""

from typing import Annotated, Literal

import msgspec

from chimera.schemas.training_config import TrainingConfig
from chimera.schemas.training_manifest import TrainingManifest

Failure = Literal["refused", "aborted", "out_of_memory", "crashed"]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """On the trainer's standard input, whole."""

    config: TrainingConfig
    runs_dir: str
    run_id: str
    allowed: tuple[str, ...]
    device: str
    agent_pid: int
    nice: int
    threads: int
    memory_bytes: int | None
    resident_bytes: int  # of its data set, at a time
    tell_s: float  # steps are told no oftener
    mlflow_uri: str | None = None


class _Line(msgspec.Struct, frozen=True, kw_only=True, tag_field="said"):
    pass


class Stepped(_Line, frozen=True, kw_only=True, tag="step"):
    epoch: int
    update: int
    updates: int
    lr: float
    rows_s: float
    loss: float | None = None
    memory_bytes: int = 0


class Evaluated(_Line, frozen=True, kw_only=True, tag="epoch"):
    epoch: int
    update: int
    metrics: dict[str, float]
    is_best: bool


class Saved(_Line, frozen=True, kw_only=True, tag="checkpoint"):
    update: int
    path: str
    is_best: bool


class Finished(_Line, frozen=True, kw_only=True, tag="finished"):
    """With the folder of the version that may be registered, or why there is none."""

    manifest: TrainingManifest
    version_dir: str = ""
    unservable: str = ""


class Failed(_Line, frozen=True, kw_only=True, tag="failed"):
    code: Failure
    error: Annotated[str, msgspec.Meta(max_length=4_096)]


Line = Stepped | Evaluated | Saved | Finished | Failed

encode = msgspec.json.Encoder().encode
decode_line = msgspec.json.Decoder(Line).decode
decode_order = msgspec.json.Decoder(Order).decode
