"""The loop: one visible `while`, in the order rate, compute, clip, step, log, evaluate, save.

After Karpathy's nanoGPT. A batch is `loop.batch_size` rows whatever the number of processes and of
pieces: each piece's loss is weighed by its share of the rows, so its gradients add up to the whole
batch's, but for BatchNorm, which sees the rows of a piece. What a run has done is `Progress`; with a checkpoint's tensors it is all that a resumed run
needs to end with equal weights. `tests/workers/training/test_run.py`.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportPrivateImportUsage=false
# (torch's functions are typed in part)

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.amp import GradScaler, autocast
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from chimera.schemas.errors import TrainingAborted, TrainingRefused
from chimera.schemas.training_config import TrainingConfig
from chimera.workers.training import names, optimization, randomness
from chimera.workers.training.evaluation import outputs_of
from chimera.workers.training.loaders import Batch, Loader, Place
from chimera.workers.training.metrics import metrics, require_told
from chimera.workers.training.modules import Trained
from chimera.workers.training.objectives import Objective

NAMED_ROWS = 32  # of a batch whose loss is no number
AMP = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Progress(msgspec.Struct):
    """Where a run is; part of each checkpoint."""

    epoch: int = 0
    batch: int = 0  # the next one of the epoch
    update: int = 0
    rows: int = 0
    loss_sum: float = 0.0  # of this epoch's updates
    losses: int = 0
    nonfinite: int = 0
    best: float | None = None
    stale: int = 0  # epochs without an improvement, by early stopping's own measure
    best_stopping: float | None = None
    train_loss: float | None = None  # of the last whole epoch
    is_done: bool = False
    started_ms: int = 0  # of the first attempt, and what all have spent: `spending.py`
    elapsed_s: float = 0.0
    energy_j: float | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of one update."""

    epoch: int
    update: int
    updates: int  # of all epochs
    loss: float
    lr: float
    grad_norm: float | None
    rows_s: float  # from step to step, the batch's way here in it


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of one epoch."""

    epoch: int
    train_loss: float
    metrics: dict[str, float]  # of the rows held out; `val_loss` among them
    is_best: bool


Tell = Callable[[Step | Epoch], None]
Save = Callable[[int, dict[str, Any], bool], None]
Due = Callable[[], bool]


class Training:
    """One run in one process, from wherever `progress` stands."""

    def __init__(
        self,
        config: TrainingConfig,
        module: Trained,
        objective: Objective,
        *,
        place: Place = Place(),  # noqa: B008  # frozen
        device: torch.device | None = None,
    ) -> None:
        """Raises TrainingRefused: optimiser, schedule or metrics are none, a loss of whole batches is to be
        computed in parts, or nothing here compiles.
        """
        for reason in names.undivided(config, place.world):
            raise TrainingRefused(reason)
        self.progress = Progress()
        self.module = module
        self._config, self._objective, self._place = config, objective, place
        self._device = device or torch.device("cpu")
        module.to(self._device)
        self._parameters = list(module.parameters())  # finding them takes as long as clipping them
        self._optimizer = optimization.optimizer(config.optimizer, self._parameters)
        self._schedule = optimization.schedule(config.scheduler, self._optimizer)
        self._scaler = GradScaler(self._device.type, enabled=self._scales())
        decay = config.loop.ema_decay
        self._ema = AveragedModel(module, multi_avg_fn=_ema(decay)) if decay else None
        self._metrics = metrics(config.task, config.evaluation.metrics)
        require_told(config)
        self._replicated = self._distributed()
        self._replica = self._compiled(self._replicated)

    @property
    def best_module(self) -> Trained:
        """What evaluation sees: the averaged weights, where there are some."""
        if self._ema is None:
            return self.module
        averaged: Any = self._ema.module
        assert isinstance(averaged, Trained)
        return averaged

    def run(self, train: Loader, validation: Loader, tell: Tell, save: Save, due: Due) -> None:
        """Until all epochs are over, or early stopping ends it.

        Raises:
            TrainingRefused: the schedule ends before the last update.
            TrainingAborted: too many updates whose loss or gradient is no number; names the last one's
                rows.
        """
        config, progress, batches = self._config, self.progress, len(train)
        optimization.require_long(config.scheduler, batches * config.loop.epochs)
        self.module.train()
        while not progress.is_done and progress.epoch < config.loop.epochs:
            since_s = time.monotonic()
            for batch in train.batches(progress.epoch, progress.batch):
                loss = self._compute(batch)
                norm = self._step(loss, batch)
                progress.batch, progress.update = batch.number + 1, progress.update + 1
                progress.rows += batch.rows
                now_s = time.monotonic()
                tell(self._told(loss, norm, batch.rows / max(now_s - since_s, 1e-9), batches))
                since_s = now_s
                if due() and progress.batch < batches:
                    save(progress.update, self.state_dict(), False)
                    since_s = time.monotonic()
            epoch = self._end_epoch(validation)
            tell(epoch)
            save(progress.update, self.state_dict(), epoch.is_best)
        progress.is_done = True

    def _compute(self, batch: Batch) -> float:
        """Gradients of one batch, and its mean loss."""
        loop, world = self._config.loop, self._place.world
        self._optimizer.zero_grad(set_to_none=True)
        losses: list[Tensor] = []
        pieces = list(_pieces(batch, loop.grad_accum_steps))
        for at, (features, targets) in enumerate(pieces):
            with self._synced(at == len(pieces) - 1), self._precision():
                loss = self._share(features, targets, len(targets) * world / batch.rows)
            torch.autograd.backward(self._scaler.scale(loss))
            losses.append(loss.detach())
        total = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        return float(self._mean(total))  # the device is waited for here, once an update

    def _share(self, features: Tensor, targets: Tensor, share: float) -> Tensor:
        """A piece's part in the batch's loss; none of a process that has no row of it."""
        found: Tensor = self._replica(features)
        if not share:
            return found.sum() * 0
        loss = self._objective(found, targets)
        return loss if share == 1 else loss * share

    def _step(self, loss: float, batch: Batch) -> float | None:
        """Change the weights; an update whose loss or gradient is no number changes none, and is counted."""
        if not math.isfinite(loss):
            self._skip("loss", batch)
            return None
        self._scaler.unscale_(self._optimizer)
        norm = float(self._clipped())
        if not math.isfinite(norm) and not self._scaler.is_enabled():
            self._skip("gradient", batch)
            return norm
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._ema is not None:
            self._ema.update_parameters(self.module)
        if self._schedule is not None:
            self._schedule.step()
        self.progress.loss_sum += loss
        self.progress.losses += 1
        return norm

    def _clipped(self) -> Tensor:
        """The gradient's length, before it is cut to the one that was asked for."""
        clip = self._config.loop.grad_clip_norm
        if clip is not None:
            return clip_grad_norm_(self._parameters, clip)
        return get_total_norm([one.grad for one in self._parameters if one.grad is not None])

    def _skip(self, what: str, batch: Batch) -> None:
        self.progress.nonfinite += 1
        if self.progress.nonfinite > self._config.loop.max_nonfinite:
            raise TrainingAborted(
                f"update {self.progress.update + 1}: the {what} is no number for the "
                f"{self.progress.nonfinite}. time; its rows: {'; '.join(batch.names(NAMED_ROWS))}"
            )

    def _end_epoch(self, validation: Loader) -> Epoch:
        progress, evaluation = self.progress, self._config.evaluation
        train_loss = progress.loss_sum / progress.losses if progress.losses else math.nan
        values = self._evaluated(validation) | {"train_loss": train_loss}
        value = values.get(evaluation.best, math.nan)
        is_best = _is_better(value, progress.best, evaluation.direction, 0.0)
        if is_best:
            progress.best = value
        self._stop_early(values)
        progress.train_loss = train_loss if progress.losses else None
        told = Epoch(epoch=progress.epoch, train_loss=train_loss, metrics=values, is_best=is_best)
        progress.epoch, progress.batch = progress.epoch + 1, 0
        progress.loss_sum, progress.losses = 0.0, 0
        return told

    def _evaluated(self, validation: Loader) -> dict[str, float]:
        """By the first process, and told to all: they have to decide alike what comes next."""
        told_names = (*self._metrics, "val_loss")
        told = torch.zeros(len(told_names), dtype=torch.float64)
        if self._place.rank == 0:
            found = outputs_of(self.best_module, validation, self._objective)
            values = [one(found.outputs, found.targets) for one in self._metrics.values()]
            told = torch.tensor([*values, found.loss], dtype=torch.float64)
        if self._place.world > 1:
            told = told.to(self._device)
            torch.distributed.broadcast(told, 0)
        return dict(zip(told_names, told.tolist(), strict=True))

    def _stop_early(self, values: dict[str, float]) -> None:
        wanted, progress = self._config.loop.early_stopping, self.progress
        if wanted is None:
            return
        value = values.get(wanted.metric, math.nan)
        if _is_better(value, progress.best_stopping, wanted.direction, wanted.min_delta):
            progress.best_stopping, progress.stale = value, 0
        else:
            progress.stale += 1
        progress.is_done = progress.stale >= wanted.patience

    def _told(self, loss: float, norm: float | None, rows_s: float, batches: int) -> Step:
        return Step(
            epoch=self.progress.epoch,
            update=self.progress.update,
            updates=batches * self._config.loop.epochs,
            loss=loss,
            lr=float(self._optimizer.param_groups[0]["lr"]),
            grad_norm=norm,
            rows_s=rows_s,
        )

    # State.

    def state_dict(self) -> dict[str, Any]:
        """Everything that a checkpoint keeps."""
        return {
            "progress": msgspec.to_builtins(self.progress),
            "model": self.module.module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": None if self._schedule is None else self._schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
            "ema": None if self._ema is None else self._ema.state_dict(),
            "rng": randomness.state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.progress = msgspec.convert(state["progress"], Progress)
        self.module.module.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._schedule is not None:
            self._schedule.load_state_dict(state["schedule"])
        self._scaler.load_state_dict(state["scaler"])
        if self._ema is not None:
            self._ema.load_state_dict(state["ema"])
        randomness.restore(state["rng"])

    # Devices and processes.

    def _scales(self) -> bool:
        """float16 alone needs its gradients scaled."""
        loop = self._config.loop
        return loop.use_amp and loop.amp_dtype == "float16" and self._device.type == "cuda"

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        """Lower where it was asked for; the CPU has no float16 worth its while, bfloat16 it has."""
        loop = self._config.loop
        if not loop.use_amp or (self._device.type == "cpu" and loop.amp_dtype == "float16"):
            return contextlib.nullcontext()
        return autocast(self._device.type, AMP[loop.amp_dtype])

    def _distributed(self) -> nn.Module:
        module: nn.Module = self.module
        return nn.parallel.DistributedDataParallel(module) if self._place.world > 1 else module

    def _compiled(self, module: nn.Module) -> nn.Module:
        """Raises TrainingRefused: that was asked for, and nothing here can compile."""
        if not self._config.loop.compile:
            return module
        from chimera.workers.compiling.packages import has_compiler  # a second that few need

        if self._device.type == "cpu" and not has_compiler():
            raise TrainingRefused("loop.compile: there is no C++ compiler on this machine")
        compiled: Any = torch.compile(module)
        return compiled  # type: ignore[no-any-return]  # it is a module

    def _synced(self, is_last: bool) -> contextlib.AbstractContextManager[Any]:
        """Gradients are exchanged once a batch."""
        if is_last or not isinstance(self._replicated, nn.parallel.DistributedDataParallel):
            return contextlib.nullcontext()
        return self._replicated.no_sync()

    def _mean(self, total: Tensor) -> Tensor:
        """Over all processes."""
        if self._place.world > 1:
            torch.distributed.all_reduce(total)
            total /= self._place.world
        return total


def _ema(decay: float) -> Callable[..., None]:
    found: Callable[..., None] = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch's
    return found


def _pieces(batch: Batch, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Neighbouring rows, as equal as can be; a process without a row computes an empty piece."""
    if count == 1:
        yield batch.features, batch.targets
        return
    features = torch.tensor_split(batch.features, count)
    targets = torch.tensor_split(batch.targets, count)
    found = [(x, y) for x, y in zip(features, targets, strict=True) if len(y)]
    yield from found or [(batch.features, batch.targets)]


def _is_better(value: float, before: float | None, direction: str, least: float) -> bool:
    if not math.isfinite(value):
        return False
    if before is None:
        return True
    return value < before - least if direction == "min" else value > before + least
