"""A training run as it is ordered: one file, YAML or JSON, that says all that decides the weights.

    name, task     the model that it becomes a version of, and what it learns to do
    data           files, columns, what is a good row, how much is held out
    model          a torch module by its import path, from the operator's list
    loss, optimizer, scheduler, loop, evaluation, checkpoints
    release        what becomes of the finished run; it decides no weight

Unknown names are refused. `hash_config` is SHA-256 over the canonical JSON (RFC 8785) of the
configuration with all defaults filled in, so two files that order the same run have one hash; where
data lie is not part of it (their digest is told apart), nor what becomes of the run. A field that came later
is not written at its default, so what was ordered before there was one keeps its hash, and older agents take it.
An order that has no such hash, since a number in it is none of JSON's, is none. Fields' descriptions
are their documentation. `tests/schemas/test_training_config.py`.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
import rfc8785

from chimera.schemas import bounded_yaml
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.model_commands import WatchPolicy
from chimera.schemas.model_names import Name

Task = Literal["regression", "binary", "multiclass", "embedding"]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Several = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Arguments = dict[str, Any]


def about(text: str) -> msgspec.Meta:
    """What a field means; `docs/training-config.md` is made of these."""
    return msgspec.Meta(description=text)


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section: frozen, and it refuses names that it does not know."""


class Column(_Part, frozen=True, kw_only=True):
    """What a column's values must be."""

    dtype: Annotated[
        Literal["number", "integer", "text"], about("what its values are; text is for slices")
    ] = "number"
    minimum: Annotated[float | None, about("the least good value")] = None
    maximum: Annotated[float | None, about("the largest good value")] = None
    nulls: Annotated[
        Literal["refuse", "drop", "fill"],
        about("refuse: the row is bad; drop: it goes, and is counted; fill: `fill` stands for it"),
    ] = "refuse"
    fill: Annotated[float | str | None, about("what stands for a null")] = None


class DatasetSchema(_Part, frozen=True, kw_only=True):
    """Which columns there are, and what a good row is."""

    features: Annotated[
        tuple[str, ...],
        about("columns, in the order of the model's input; `pixel_*` is a pattern"),
    ]
    target: Annotated[str | tuple[str, ...], about("the column, or columns, to be learnt")]
    required_columns: Annotated[
        tuple[str, ...],
        about("columns that have to be there, too; a rule in `columns` says what their values are"),
    ] = ()
    columns: Annotated[
        dict[str, Column],
        about(
            "rules by column; a feature or target that is not here: numbers, and no nulls. Whatever they"
            " say, classes are whole and not negative, and a binary target is 0 or 1"
        ),
    ] = {}
    transform: Annotated[
        str | None,
        about("import path of a function, data frame in and out, from the operator's list"),
    ] = None
    feature_dtype: Annotated[
        Literal["FP32", "INT64"], about("of the model's input; INT64: tokens, which are whole")
    ] = "FP32"


class Data(_Part, frozen=True, kw_only=True):
    """Where rows come from."""

    sources: Annotated[
        tuple[str, ...],
        msgspec.Meta(min_length=1),
        about(
            "files, globs, folders, by their paths from the configuration's; URLs of fsspec;"
            " `synthetic:ROWS,FEATURES`"
        ),
    ]
    schema: Annotated[DatasetSchema, about("which columns, and what a good row is")]
    validation_share: Annotated[Share, about("of the rows, chosen by their content")] = 0.2
    on_bad_rows: Annotated[
        Literal["fail", "quarantine"],
        about("fail: at the first one; quarantine: they go to a file with their reasons"),
    ] = "fail"
    chunk_rows: Annotated[Several, about("rows that are read at once")] = 65_536


class Model(_Part, frozen=True, kw_only=True):
    """The module that is trained."""

    definition: Annotated[str, about("package.module:Class, on the operator's list")]
    arguments: Annotated[Arguments, about("the class' keyword arguments")] = {}
    method: Annotated[
        str, about("what is trained, where serving and training differ (`logits`)")
    ] = "forward"


class Loss(_Part, frozen=True, kw_only=True):
    """What is made small."""

    name: Annotated[
        str,
        about(
            "regression: mse, mae, huber; binary: bce; multiclass: cross_entropy;"
            " embedding: supervised_contrastive"
        ),
    ]
    arguments: Annotated[Arguments, about("torch's own")] = {}


class Optimizer(_Part, frozen=True, kw_only=True):
    """How weights follow their gradients."""

    name: Annotated[
        str, about("a class of torch.optim; not LBFGS nor SparseAdam, which the loop cannot step")
    ] = "AdamW"
    arguments: Annotated[Arguments, about("its keyword arguments; unset: a rate of 0.001")] = (
        msgspec.field(default_factory=lambda: {"lr": 1e-3})
    )


class Scheduler(_Part, frozen=True, kw_only=True):
    """How the rate changes."""

    name: Annotated[
        str | None,
        about(
            "a class of torch.optim.lr_scheduler, stepped once an update; none that takes functions,"
            " other schedules or, as ReduceLROnPlateau, a metric"
        ),
    ] = None
    arguments: Annotated[Arguments, about("its keyword arguments")] = {}
    warmup_steps: Annotated[
        Count, about("updates in which the rate rises from nothing to its own")
    ] = 0


class EarlyStopping(_Part, frozen=True, kw_only=True):
    """When nothing gets better any more."""

    metric: Annotated[str, about("of the rows held out")] = "val_loss"
    direction: Annotated[Literal["min", "max"], about("which way is better")] = "min"
    patience: Annotated[Several, about("epochs without an improvement")] = 5
    min_delta: Annotated[NotNegative, about("less than this is no improvement")] = 0.0


class Loop(_Part, frozen=True, kw_only=True):
    """How it is trained."""

    epochs: Annotated[Several, about("times that all rows are seen")] = 10
    batch_size: Annotated[
        Several, about("rows of an update, over all processes and accumulated steps")
    ] = 128
    drop_last: Annotated[
        bool | msgspec.UnsetType,
        msgspec.Meta(extra_json_schema={"default": False}),
        about(
            "leave out an epoch's last batch where it is smaller: BatchNorm learns nothing from one row"
        ),
    ] = msgspec.UNSET
    grad_accum_steps: Annotated[
        Several,
        about("pieces that a process computes a batch in; an embedding's is computed whole"),
    ] = 1
    grad_clip_norm: Annotated[
        Positive | None, about("length that gradients are cut to; null: they are not")
    ] = 1.0
    use_amp: Annotated[
        bool, about("lower precision where the device has it; weights stay float32")
    ] = False
    amp_dtype: Annotated[
        Literal["bfloat16", "float16"], about("which; float16 with a scaler, and not on a CPU")
    ] = "bfloat16"
    ema_decay: Annotated[
        Share | None, about("of averaged weights, which are evaluated and kept; null: none")
    ] = None
    gradient_checkpointing: Annotated[
        bool, about("compute activations again instead of keeping them")
    ] = False
    compile: Annotated[bool, about("torch.compile")] = False
    threads: Annotated[
        Several | None, about("of a process on the CPU; null: torch's own choice")
    ] = None
    max_nonfinite: Annotated[
        Count,
        about("updates whose loss or gradient is no number: skipped, then the run is aborted"),
    ] = 10
    early_stopping: Annotated[EarlyStopping | None, about("null: all epochs are trained")] = None

    def __post_init__(self) -> None:
        """False is not written: see above."""
        if not self.drop_last:
            msgspec.structs.force_setattr(self, "drop_last", msgspec.UNSET)


class Checkpoints(_Part, frozen=True, kw_only=True):
    """After every epoch, and:"""

    every_minutes: Annotated[Positive | None, about("null: after epochs alone")] = 10.0
    keep_last: Annotated[Several, about("beside the best one")] = 2


class Evaluation(_Part, frozen=True, kw_only=True):
    """How good it is on the rows held out."""

    metrics: Annotated[tuple[str, ...], about("none: those of the task")] = ()
    best: Annotated[str, about("what the best checkpoint is best in")] = "val_loss"
    direction: Annotated[Literal["min", "max"], about("which way is better")] = "min"
    slice: Annotated[
        str | None,
        about("a column: metrics for each of its values, too; of many, the rarest are one"),
    ] = None
    bootstrap: Annotated[Count, about("resamples behind the confidence intervals")] = 200
    batch_size: Annotated[Several, about("rows at once")] = 1_024


class Release(_Part, frozen=True, kw_only=True):
    """A finished run is a version of its model, named by the run's id; how far does it go by itself?"""

    until: Annotated[
        Literal["registered", "compiled", "promoted"], about("how far it goes by itself")
    ] = "registered"
    tiers: Annotated[
        tuple[Name, ...],
        msgspec.Meta(max_length=64),
        about("to compile; none: all that the machine can run"),
    ] = ()
    watch: Annotated[
        WatchPolicy | None, about("over a promotion; `null`: it stays, whatever happens")
    ] = WatchPolicy()
    input: Annotated[
        str,
        msgspec.Meta(min_length=1, max_length=255),
        about("what its tensor is called in requests"),
    ] = "features"
    outputs: Annotated[
        tuple[str, ...], about("their names, in the module's order; none: they are numbered")
    ] = ()
    labels: Annotated[tuple[str, ...], about("of the classes, in the order of their scores")] = ()


class TrainingConfig(_Part, frozen=True, kw_only=True):
    """All of a run's order."""

    name: Annotated[Name, about("the model that it becomes a version of")]
    task: Annotated[Task, about("what it learns to do")]
    data: Annotated[Data, about("where rows come from")]
    model: Annotated[Model, about("the module that is trained")]
    loss: Annotated[Loss, about("what is made small")]
    optimizer: Annotated[Optimizer, about("how weights follow their gradients")] = msgspec.field(
        default_factory=Optimizer
    )
    scheduler: Annotated[Scheduler, about("how the rate changes")] = msgspec.field(
        default_factory=Scheduler
    )
    loop: Annotated[Loop, about("how it is trained")] = Loop()
    checkpoints: Annotated[Checkpoints, about("when it is written down")] = Checkpoints()
    evaluation: Annotated[Evaluation, about("how it is judged")] = Evaluation()
    release: Annotated[Release, about("what becomes of it when it is finished")] = Release()
    seed: Annotated[
        int, msgspec.Meta(ge=0, lt=2**32), about("of rows' order, weights and all that is drawn")
    ] = 0
    deterministic: Annotated[
        bool, about("equal weights bit for bit, run for run, on one kind of device")
    ] = True


def parse(text: str, where: str = "the configuration") -> TrainingConfig:
    """Of YAML, which JSON is a part of.

    Raises:
        ConfigurationError: says which field, and what is wrong with it.
    """
    try:
        config = msgspec.convert(bounded_yaml.load(text), TrainingConfig)
        canonical(config)
    except (msgspec.ValidationError, ConfigurationError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{where}: {error}") from None
    return config


def load(path: Path) -> TrainingConfig:
    """Raises ConfigurationError: it cannot be read, or is none."""
    try:
        with path.open(encoding="utf-8") as file:
            return parse(file.read(bounded_yaml.MAX_CHARACTERS + 1), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None


def canonical(config: TrainingConfig) -> bytes:
    """The configuration as RFC 8785 writes it, without where its data lie and what becomes of it.

    Raises:
        ConfigurationError: it does not write this; says which field.
    """
    try:
        found = msgspec.to_builtins(config)
        del found["data"]["sources"], found["release"]
        if against := list(_unwritable(found)):
            raise ConfigurationError("; ".join(against))
        return rfc8785.dumps(found)
    except RecursionError:
        raise ConfigurationError("it is nested too deeply") from None


def hash_config(config: TrainingConfig) -> str:
    """SHA-256 of `canonical`, in hexadecimal digits. Raises ConfigurationError, as that does."""
    return hashlib.sha256(canonical(config)).hexdigest()


def _unwritable(found: Any, path: str = "") -> Iterator[str]:
    """What RFC 8785 does not write, by its path."""
    try:
        rfc8785.dumps(found)
    except rfc8785.CanonicalizationError as error:
        inside = [
            one
            for name, value in _parts_of(found)
            for one in _unwritable(value, f"{path}.{name}" if path else f"{name}")
        ]
        yield from inside or [f"{path}: {error}"]


def _parts_of(found: Any) -> Iterable[tuple[object, object]]:
    if isinstance(found, dict):
        return cast("dict[object, object]", found).items()
    return enumerate(cast("list[object]", found)) if isinstance(found, list) else ()
