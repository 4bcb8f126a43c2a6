"""Rows of a prepared data set as batches of tensors, in an order that the seed and the epoch decide.

A batch is named by its number in its epoch, so a run that resumes asks for the batches after the
last one that it has seen, and gets what the undisturbed run got. Each process of a distributed run
takes every n-th row of each batch. `build_dataloaders` makes both sides' of a configuration, for
whoever has a loop of their own. `tests/workers/training/test_loaders.py`.
"""

# pyright: reportUnknownMemberType=false
# (torch's functions are typed in part)

import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, floor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chimera.schemas.errors import TrainingRefused
from chimera.schemas.training_config import TrainingConfig
from chimera.workers.training import modules, preparation
from chimera.workers.training.folder import LAYOUT
from chimera.workers.training.preparation import Prepared, Rows

RESIDENT_BYTES = 1 << 28
FAULT_BYTES = 1 << 16  # a row read at random brings so much with it: the kernel maps around a fault

RowName = Callable[[NDArray[np.int64]], str]  # of its id


class Batch(NamedTuple):
    number: int  # in its epoch, from 0
    features: Tensor
    targets: Tensor
    rows: int  # of all processes together
    rows_of: Callable[[], NDArray[np.int64]]  # ids of this process' rows, as in `Rows.ids`
    name: RowName

    @property
    def ids(self) -> NDArray[np.int64]:
        return self.rows_of()

    def names(self, most: int) -> list[str]:
        """Of this process' rows, for people; where there are more, the last one says so."""
        ids = self.ids
        more = [f"{len(ids) - most} more"] if len(ids) > most else []
        return [self.name(one) for one in ids[:most]] + more


@dataclass(frozen=True, slots=True)
class Place:
    """Which process of how many."""

    rank: int = 0
    world: int = 1


class Loader:
    """Of one side of a data set."""

    def __init__(
        self,
        rows: Rows,
        batch_size: int,
        seed: int | None,
        *,
        place: Place = Place(),  # frozen
        device: torch.device | None = None,
        resident_bytes: int = RESIDENT_BYTES,
        drop_last: bool = False,
        name: RowName = str,
    ) -> None:
        """`seed` None: as the rows lie. `resident_bytes`: of its files, before pages are given back.

        `drop_last`: a last batch that is smaller is left out. `name`: of a row by its id, for people.
        """
        self._rows, self._batch_size, self._seed = rows, batch_size, seed
        self._features, self._target = np.asarray(rows.features), np.asarray(rows.target)
        self._place, self._device = place, device or torch.device("cpu")
        self._drop_last, self._name = drop_last, name
        self._forget_every = _forget_every(rows, batch_size, resident_bytes)

    def __len__(self) -> int:
        """Batches of an epoch; the last may be smaller."""
        count = len(self._rows) / self._batch_size
        return floor(count) if self._drop_last else ceil(count)

    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """From batch `start` on. A process may have no row in the last one."""
        order = self._order(epoch)
        for number in range(start, len(self)):
            whole = order[number * self._batch_size : (number + 1) * self._batch_size]
            mine = whole[self._place.rank :: self._place.world]
            yield Batch(
                number,
                self._tensor(self._features, mine),
                self._tensor(self._target, mine),
                len(whole),
                partial(_ids, self._rows, mine),
                self._name,
            )
            if self._forget_every and number % self._forget_every == 0:
                _forget(self._rows)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        count = len(self._rows)
        if self._seed is None:
            return np.arange(count)
        return np.random.default_rng((self._seed, epoch)).permutation(count)

    def _tensor(self, array: NDArray[Any], rows: NDArray[np.int64]) -> Tensor:
        found = torch.from_numpy(array.take(rows, axis=0))
        return found if self._device.type == "cpu" else found.to(self._device, non_blocking=True)


class DataLoaders(NamedTuple):
    """Of both sides of a data set, and what is known of it."""

    train: Loader
    validation: Loader
    data: Prepared


def build_dataloaders(
    config: TrainingConfig,
    folder: Path,
    allowed: Sequence[str] = (),
    *,
    place: Place = Place(),  # frozen
    device: torch.device | None = None,
    resident_bytes: int = RESIDENT_BYTES,
) -> DataLoaders:
    """Batches of a configuration's data, in the order of its seed; prepared in `folder` unless they are.

    `allowed`: where a transform may be imported from.

    Raises:
        TrainingRefused: a file is missing or damaged, a row is bad where none may be (the message has
            file, row and column), or the transform may not be imported.
    """
    if not (folder / LAYOUT).exists():
        path = config.data.schema.transform
        transform: Any = None if path is None else modules.load(path, allowed)
        preparation.prepare(config, folder, transform)
    data = preparation.opened(folder)
    return loaders_of(config, data, place=place, device=device, resident_bytes=resident_bytes)


def loaders_of(
    config: TrainingConfig,
    data: Prepared,
    *,
    place: Place = Place(),  # frozen
    device: torch.device | None = None,
    resident_bytes: int = RESIDENT_BYTES,
) -> DataLoaders:
    """Of data that are prepared. Each process evaluates all of them.

    Raises:
        TrainingRefused: what `loop.drop_last` leaves is no batch.
    """
    train = Loader(
        data.train,
        config.loop.batch_size,
        config.seed,
        place=place,
        device=device,
        resident_bytes=resident_bytes,
        drop_last=bool(config.loop.drop_last),
        name=data.name,
    )
    if not len(train):
        raise TrainingRefused(
            f"loop.drop_last: {len(data.train)} rows are fewer than loop.batch_size, and would all go"
        )
    validation = Loader(
        data.validation,
        config.evaluation.batch_size,
        None,
        device=device,
        resident_bytes=resident_bytes,
    )
    return DataLoaders(train, validation, data)


def _ids(rows: Rows, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Only looked up where somebody asks: a bad batch."""
    return np.asarray(rows.ids[chosen])


def _forget_every(rows: Rows, batch_size: int, resident_bytes: int) -> int:
    """Batches after which mapped pages are given back; 0: they may all stay."""
    if sum(array.nbytes for array in (rows.features, rows.target, rows.ids)) <= resident_bytes:
        return 0
    return max(1, resident_bytes // FAULT_BYTES // batch_size)


def _forget(rows: Rows) -> None:
    """Let the kernel have the pages back that were read; they come again from its cache."""
    for array in (rows.features, rows.target, rows.ids):
        mapped = getattr(array, "_mmap", None)
        if isinstance(mapped, mmap.mmap):
            mapped.madvise(mmap.MADV_DONTNEED)
