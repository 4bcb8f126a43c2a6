"""A training run as it is ordered: one file, YAML or JSON, that says all that decides the weights.

    name, task     the model that it becomes a version of, and what it learns to do
    data           files, columns, what is a good row, how much is held out
    model          a torch module by its import path, from the operator's list
    loss, optimizer, scheduler, loop, evaluation, checkpoints
    release        what becomes of the finished run; it decides no weight

Unknown names are refused. `hash_config` is SHA-256 over the canonical JSON (RFC 8785) of the
configuration with all defaults filled in, so two files that order the same run have one hash; where
data lie is not part of it (their digest is told apart), nor what becomes of the run. `tests/schemas/test_training_config.py`.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import rfc8785
import yaml

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.model_commands import WatchPolicy
from chimera.schemas.model_names import Name

Task = Literal["regression", "binary", "multiclass", "embedding"]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Several = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Arguments = dict[str, Any]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section: frozen, and it refuses names that it does not know."""


class Column(_Part, frozen=True, kw_only=True):
    """What a column's values must be."""

    dtype: Literal["number", "integer", "text"] = "number"
    minimum: float | None = None
    maximum: float | None = None
    nulls: Literal["refuse", "drop", "fill"] = "refuse"  # drop: the row goes, and is counted
    fill: float | str | None = None  # what stands for a null


class DatasetSchema(_Part, frozen=True, kw_only=True):
    """Which columns there are, and what a good row is."""

    features: tuple[str, ...]  # columns, in the order of the model's input; `pixel_*` is a pattern
    target: str | tuple[str, ...]
    required_columns: tuple[str, ...] = ()  # beside features and target
    columns: dict[str, Column] = {}  # a column that is not here: numbers, and no nulls
    transform: str | None = None  # import path of a function, data frame in and out
    feature_dtype: Literal["FP32", "INT64"] = "FP32"


class Data(_Part, frozen=True, kw_only=True):
    """Where rows come from."""

    sources: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]  # files, globs, folders, URLs
    schema: DatasetSchema
    validation_share: Share = 0.2
    on_bad_rows: Literal["fail", "quarantine"] = "fail"
    chunk_rows: Several = 65_536


class Model(_Part, frozen=True, kw_only=True):
    """The module that is trained."""

    definition: str  # package.module:Class, on the operator's list
    arguments: Arguments = {}
    method: str = "forward"  # what is trained, where serving and training differ (`logits`)


class Loss(_Part, frozen=True, kw_only=True):
    name: str  # `workers/training/objectives.py` lists them
    arguments: Arguments = {}


class Optimizer(_Part, frozen=True, kw_only=True):
    name: str = "AdamW"  # a class of torch.optim
    arguments: Arguments = msgspec.field(default_factory=lambda: {"lr": 1e-3})


class Scheduler(_Part, frozen=True, kw_only=True):
    name: str | None = None  # a class of torch.optim.lr_scheduler, stepped once an update
    arguments: Arguments = {}
    warmup_steps: Count = 0  # updates in which the rate rises from nothing to its own


class EarlyStopping(_Part, frozen=True, kw_only=True):
    metric: str = "val_loss"
    direction: Literal["min", "max"] = "min"
    patience: Several = 5  # epochs without an improvement
    min_delta: NotNegative = 0.0


class Loop(_Part, frozen=True, kw_only=True):
    """How it is trained."""

    epochs: Several = 10
    batch_size: Several = 128  # rows of an update, over all processes and accumulated steps
    grad_accum_steps: Several = 1  # pieces that a process computes a batch in
    grad_clip_norm: Positive | None = 1.0
    use_amp: bool = False  # lower precision where the device has it; float32 weights
    amp_dtype: Literal["bfloat16", "float16"] = "bfloat16"
    ema_decay: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    gradient_checkpointing: bool = False
    compile: bool = False  # torch.compile
    threads: Several | None = None  # of a process on the CPU; None: torch's own choice
    max_nonfinite: Count = 10  # updates whose loss is no number: skipped, then the run is aborted
    early_stopping: EarlyStopping | None = None


class Checkpoints(_Part, frozen=True, kw_only=True):
    """Every epoch, and:"""

    every_minutes: Positive | None = 10.0
    keep_last: Several = 2  # beside the best one


class Evaluation(_Part, frozen=True, kw_only=True):
    metrics: tuple[str, ...] = ()  # none: those of the task
    best: str = "val_loss"
    direction: Literal["min", "max"] = "min"
    slice: str | None = None  # a column: metrics for each of its values, too
    bootstrap: Count = 200  # resamples behind the confidence intervals
    batch_size: Several = 1_024


class Release(_Part, frozen=True, kw_only=True):
    """A finished run is a version of its model, named by the run's id; how far does it go by itself?"""

    until: Literal["registered", "compiled", "promoted"] = "registered"
    tiers: tuple[Name, ...] = ()  # to compile; none: all that the machine can run
    watch: WatchPolicy | None = WatchPolicy()  # of a promotion; none: it stays, whatever happens
    input: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] = "features"
    outputs: tuple[str, ...] = ()  # their names, in the module's order; none: they are numbered
    labels: tuple[str, ...] = ()  # of the classes, in the order of their scores


class TrainingConfig(_Part, frozen=True, kw_only=True):
    """All of a run's order."""

    name: Name
    task: Task
    data: Data
    model: Model
    loss: Loss
    optimizer: Optimizer = msgspec.field(default_factory=Optimizer)
    scheduler: Scheduler = msgspec.field(default_factory=Scheduler)
    loop: Loop = Loop()
    checkpoints: Checkpoints = Checkpoints()
    evaluation: Evaluation = Evaluation()
    release: Release = Release()
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    deterministic: bool = True  # equal weights bit for bit, run for run, on one kind of device


def parse(text: str, where: str = "the configuration") -> TrainingConfig:
    """Of YAML, which JSON is a part of.

    Raises:
        ConfigurationError: says which field, and what is wrong with it.
    """
    try:
        return msgspec.convert(yaml.safe_load(text), TrainingConfig)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def load(path: Path) -> TrainingConfig:
    """Raises ConfigurationError: it cannot be read, or is none."""
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None


def canonical(config: TrainingConfig) -> bytes:
    """The configuration as RFC 8785 writes it, without where its data lie and what becomes of it."""
    found = msgspec.to_builtins(config)
    del found["data"]["sources"], found["release"]
    return rfc8785.dumps(found)


def hash_config(config: TrainingConfig) -> str:
    """SHA-256 of `canonical`, in hexadecimal digits."""
    return hashlib.sha256(canonical(config)).hexdigest()
