"""One run, from its order to its manifest; where it was stopped, it goes on.

    runs/<run_id>/
      config.json      the order          data/            the prepared data set
      checkpoints/     to resume from     metrics.jsonl    what it told
      weights.safetensors, manifest.json  at the end

`tests/workers/training/test_run.py` trains, kills and resumes it.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (torch's and safetensors' functions are typed in part)

import hashlib
import math
import os
import platform
import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from safetensors.torch import save_file

from chimera.schemas.dataset_statistics import DatasetStatistics
from chimera.schemas.errors import ConfigurationError, TrainingRefused
from chimera.schemas.signing import SigningKey
from chimera.schemas.training_config import TrainingConfig, hash_config
from chimera.schemas.training_manifest import Drift, TrainingManifest
from chimera.workers.training import (
    checkpoints,
    history,
    modules,
    preparation,
    randomness,
    recording,
    tracking,
)
from chimera.workers.training.checkpoints import CheckpointSaver
from chimera.workers.training.drift import compare_stats
from chimera.workers.training.evaluation import evaluate_model
from chimera.workers.training.folder import CONFIG, DATA, LAYOUT, STATISTICS, WEIGHTS
from chimera.workers.training.loaders import RESIDENT_BYTES, Place, loaders_of
from chimera.workers.training.loop import Epoch, Progress, Step, Training
from chimera.workers.training.objectives import objective
from chimera.workers.training.preparation import Prepared
from chimera.workers.training.provenance import source_sha256
from chimera.workers.training.spending import Spending
from chimera.workers.training.tracking import STEP, ExperimentTracker, Listener

AGREE_EVERY = 16  # updates: a broadcast for each would be felt
PACKAGES = ("torch", "numpy", "pandas", "pyarrow", "scipy", "safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Of one run's process."""

    runs: Path  # the folder of all runs
    run_id: str
    allowed: tuple[str, ...]  # import paths
    place: Place = Place()  # noqa: RUF009  # frozen
    device: str = "cpu"
    resident_bytes: int = RESIDENT_BYTES  # of its data set, at a time
    threads: int | None = None  # instead of the configuration's
    records: bool = True  # else it leaves a draft: whoever started it has the key, and records
    key: SigningKey | None = None  # that signs the manifest
    mlflow_uri: str | None = None  # of an MLflow that hears of the run, too

    @property
    def folder(self) -> Path:
        return self.runs / self.run_id

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run's files."""
        return self.place.rank == 0


class Parts(NamedTuple):
    """What a run goes on with."""

    training: Training
    data: Prepared
    saver: CheckpointSaver
    spent: Spending
    definition_sha256: str  # of the module's source, as it was when this process began


def train(
    config: TrainingConfig,
    where: Where,
    *,
    resume: bool = False,
    listeners: Iterable[Listener] = (),
) -> TrainingManifest:
    """Do all of a run, or the rest of it.

    Raises:
        TrainingRefused: the order, its data, or (resume) what is left of the run.
        TrainingAborted: the loss is no number, too often.
    """
    telling: AbstractContextManager[ExperimentTracker | None] = nullcontext()
    with Spending() as spent:
        _begin(config, where, resume=resume)
        parts = _parts(config, where, spent)
        if where.is_first:
            telling = tracking.opened(config, where.folder, listeners, where.mlflow_uri)
        with telling as tracker:
            if resume:
                _go_on(parts, tracker)
            _run(config, where, parts, tracker)
            manifest = _manifest(config, where, parts)
            if where.records:
                manifest = recording.record(where.runs, manifest, where.key)
            elif where.is_first:
                recording.write(where.runs, manifest)
            if tracker is not None:
                tracker.log("finished", manifest.updates, {"metrics": manifest.metrics})
            return manifest


def _parts(config: TrainingConfig, where: Where, spent: Spending) -> Parts:
    """All that an order may be refused for is made before its data are read, which may take hours."""
    threads = where.threads or config.loop.threads
    if threads is not None:
        torch.set_num_threads(threads)
    randomness.seed(config.seed, deterministic=config.deterministic)
    training = _training(config, where)
    definition = modules.load(config.model.definition, where.allowed)
    drawn = randomness.state()
    data = _data(config, where)
    randomness.restore(drawn)  # whether a transform has drawn from it or was done already
    every_minutes = config.checkpoints.every_minutes
    every_s = None if every_minutes is None else 60 * every_minutes
    saver = CheckpointSaver(where.folder / "checkpoints", config.checkpoints.keep_last, every_s)
    return Parts(training, data, saver, spent, source_sha256(definition))


def _go_on(parts: Parts, tracker: ExperimentTracker | None) -> None:
    """From the last checkpoint; where there is none yet, from the beginning."""
    training, newest = parts.training, parts.saver.newest()
    if newest is not None:
        training.load_state_dict(checkpoints.read(newest))
        found = training.progress
        parts.spent.go_on(found.started_ms, found.elapsed_s, found.energy_j)
    if tracker is not None:
        tracker.forget_after(training.progress.update)


def _begin(config: TrainingConfig, where: Where, *, resume: bool) -> None:
    try:
        hash_config(config)  # its manifest has it: whoever trains for hours knows that there is one
    except ConfigurationError as error:
        raise TrainingRefused(str(error)) from None
    path = where.folder / CONFIG
    if resume:
        if not path.exists():
            raise TrainingRefused(f"run {where.run_id} was never begun")
        before = msgspec.json.decode(path.read_bytes(), type=TrainingConfig)
        if before != config:
            raise TrainingRefused(f"run {where.run_id} was begun with another configuration")
        return
    if where.is_first:
        if path.exists():
            raise TrainingRefused(f"run {where.run_id} exists: resume it, or choose another id")
        where.folder.mkdir(parents=True, exist_ok=True)
        writing = path.with_suffix(".writing")
        writing.write_bytes(msgspec.json.encode(config))
        writing.replace(path)


def _data(config: TrainingConfig, where: Where) -> Prepared:
    """Prepared by the first process of the run, once."""
    folder = where.folder / DATA
    if where.is_first and not (folder / LAYOUT).exists():
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was ended while it prepared
        path = config.data.schema.transform
        transform: Any = None if path is None else modules.load(path, where.allowed)
        made = preparation.prepare(config, folder, transform)
        (where.folder / STATISTICS).write_bytes(msgspec.json.encode(made.statistics))
    _together(where)
    return preparation.opened(folder)


def _training(config: TrainingConfig, where: Where) -> Training:
    module = modules.make(
        config.model, where.allowed, gradient_checkpointing=config.loop.gradient_checkpointing
    )
    criterion = objective(config.task, config.loss)
    return Training(config, module, criterion, place=where.place, device=torch.device(where.device))


def _run(
    config: TrainingConfig,
    where: Where,
    parts: Parts,
    tracker: ExperimentTracker | None,
) -> None:
    training, data, saver = parts.training, parts.data, parts.saver

    def tell(found: Step | Epoch) -> None:
        if tracker is not None:
            kind = STEP if isinstance(found, Step) else "epoch"
            tracker.log(kind, training.progress.update, _line(found))

    def save(update: int, state: dict[str, Any], is_best: bool) -> None:
        if where.is_first:
            if tracker is not None:
                tracker.flush()  # a run that goes on from here does not tell again what was before
            state["progress"] |= parts.spent.told()
            saved = saver.save(update, state, is_best=is_best)
            if tracker is not None:
                where_saved = {"path": str(saved.relative_to(where.folder)), "is_best": is_best}
                tracker.log("checkpoint", update, where_saved)
        _together(where)

    train, validation, _ = loaders_of(
        config,
        data,
        place=where.place,
        device=torch.device(where.device),
        resident_bytes=where.resident_bytes,
    )
    training.run(train, validation, tell, save, _due(where, saver))


def _due(where: Where, saver: CheckpointSaver) -> Callable[[], bool]:
    """Whether a checkpoint is; several processes ask the first one's clock now and then."""
    if where.place.world == 1:
        return saver.is_due
    asked = count(1)

    def agreed() -> bool:
        if next(asked) % AGREE_EVERY:
            return False
        found = torch.tensor([saver.is_due()], dtype=torch.int32, device=where.device)
        torch.distributed.broadcast(found, 0)
        return bool(found.item())

    return agreed


def _line(found: Step | Epoch) -> dict[str, Any]:
    """Its values; one that is no number is left out."""
    values: dict[str, Any] = msgspec.structs.asdict(found)
    values.pop("update", None)
    if isinstance(found, Epoch):
        values["metrics"] = _numbers(found.metrics)
    return _numbers(values)


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in values.items()
        if not isinstance(value, float) or math.isfinite(value)
    }


def _manifest(
    config: TrainingConfig,
    where: Where,
    parts: Parts,
) -> TrainingManifest:
    """Of the best checkpoint's weights, which are written down, too."""
    training, data, saver = parts.training, parts.data, parts.saver
    progress = training.progress
    best = saver.best() or saver.newest()
    assert best is not None  # an epoch ends in one
    training.load_state_dict(checkpoints.read(best))
    device = torch.device(where.device)
    found = evaluate_model(training.best_module, data.validation, config, device=device)
    spent = parts.spent.told()
    previous, drift = _before(where, config.name, data.statistics)
    return TrainingManifest(
        run_id=where.run_id,
        name=config.name,
        config_hash=hash_config(config),
        dataset_digest=data.digest,
        is_synthetic=data.is_synthetic,
        split=data.split,
        rows={
            "train": len(data.train),
            "validation": len(data.validation),
            "quarantined": data.quarantined,
            "dropped": data.dropped,
        },
        metrics=found.metrics | _of_training(training.progress) | _of_data(data.statistics, config),
        intervals=found.intervals,
        slices=found.slices,
        checkpoint_path=str(best.relative_to(where.folder)),
        weights_sha256=_write_weights(training, where),
        drift_from_previous=drift,
        previous_run_id=previous,
        is_deterministic=config.deterministic,
        seed=config.seed,
        device=_device(device),
        threads=torch.get_num_threads(),
        processes=where.place.world,
        code_version=_version("chimera-stream"),
        packages={name: _version(name) for name in PACKAGES},
        definitions=_definitions(config, parts),
        started_ms=spent["started_ms"],
        duration_s=spent["elapsed_s"],
        energy_j=spent["energy_j"],
        epochs=progress.epoch,
        updates=progress.update,
        nonfinite=progress.nonfinite,
    )


def _before(
    where: Where, name: str, statistics: DatasetStatistics
) -> tuple[str | None, tuple[Drift, ...]]:
    """The run before of this model, and what its data differ in."""
    last = history.load_last_manifest(where.runs, name, but=where.run_id)
    if last is None:
        return None, ()
    file = where.runs / last.run_id / STATISTICS
    if not file.exists():
        return last.run_id, ()
    before = msgspec.json.decode(file.read_bytes(), type=DatasetStatistics)
    return last.run_id, compare_stats(before, statistics)


def _definitions(config: TrainingConfig, parts: Parts) -> dict[str, str]:
    """Of the module, and of the transform as it was when the data were prepared."""
    found = {config.model.definition: parts.definition_sha256}
    if config.data.schema.transform is not None:
        found[config.data.schema.transform] = parts.data.transform_sha256
    return {path: sha256 for path, sha256 in found.items() if sha256}


def _of_training(best: Progress) -> dict[str, float]:
    """`train_loss`: of the epoch whose weights are the best."""
    return {} if best.train_loss is None else {"train_loss": best.train_loss}


def _of_data(statistics: DatasetStatistics, config: TrainingConfig) -> dict[str, float]:
    """`data_mean` and `data_std`: of the target."""
    goal = config.data.schema.target
    name = goal if isinstance(goal, str) else goal[0]
    column = statistics.columns.get(name)
    return {} if column is None else {"data_mean": column.mean, "data_std": column.std}


def _write_weights(training: Training, where: Where) -> str:
    """The best weights; their SHA-256."""
    path = where.folder / WEIGHTS
    if where.is_first:
        state = training.best_module.module.state_dict()
        save_file({name: one.contiguous().cpu() for name, one in state.items()}, path)
    _together(where)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _together(where: Where) -> None:
    """All processes of a run are here."""
    if where.place.world > 1:
        torch.distributed.barrier()


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({platform.machine()}, {os.cpu_count()} cores)"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
