"""What was served and is to be computed once more: inputs, outputs, and where each request ends.

A sample is a copy, so that it keeps no batch alive, and no claim's memory. Which requests of a batch
it has is told by their identity (`workers/splits.py`), so a rerun picks the same ones, on any node;
one that was answered with an error is in none. `tests/workers/shadowing/test_samples.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from chimera.schemas.errors import RequestError
from chimera.schemas.responses import Plain
from chimera.schemas.tensors import Array
from chimera.workers.computation import Kept
from chimera.workers.repertoire import Served
from chimera.workers.results import coordinates
from chimera.workers.splits import mirrored, source
from chimera.workers.tasks import NO_EXTRA, Task

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Requests of one model and shape, with what one tier of the version that serves made of them."""

    served: Served
    tier: str
    inputs: Sequence[Array]  # in the manifest's order, rows first where it batches
    outputs: Sequence[Array]
    ends: Places  # the row after each request's last; of one that is computed alone: 1

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def rows(self) -> int:
        return int(self.ends[-1])

    @property
    def size_bytes(self) -> int:
        return size_of((*self.inputs, *self.outputs))

    def cut(self, start: int, stop: int) -> "Sample":
        """Requests `start` to `stop` of it, at least one."""
        if start == 0 and stop == len(self):
            return self
        first = int(self.ends[start - 1]) if start else 0
        last = int(self.ends[stop - 1])
        return replace(
            self,
            inputs=[array[first:last] for array in self.inputs],
            outputs=[array[first:last] for array in self.outputs],
            ends=self.ends[start:stop] - first,
        )


def rows_of(kept: Kept) -> Places:
    """Of each request of a batch."""
    return np.repeat([task.route.rows for task in kept.tasks], [len(task) for task in kept.tasks])


def picked(kept: Kept, share: float) -> Places:
    """Which requests of a batch a shadow of this share computes too."""
    served, rows = kept.tasks[0].route.served, int(rows_of(kept).sum())
    if served.batches and any(len(output) != rows for output in kept.outputs):
        return np.zeros(0, np.intp)  # nobody can tell whose rows they are
    chosen = np.concatenate([_mirrored(task, share) for task in kept.tasks])
    if not isinstance(kept.answers, Plain):
        chosen &= [not isinstance(answer, RequestError) for answer in kept.answers]
    return np.flatnonzero(chosen)


def sample(kept: Kept, tier: str, places: Places) -> Sample:
    """A copy of these requests of a batch, at least one."""
    served, sizes = kept.tasks[0].route.served, rows_of(kept)
    if not served.batches:
        inputs, outputs = [a.copy() for a in kept.inputs], [a.copy() for a in kept.outputs]
        return Sample(served, tier, inputs, outputs, np.ones(1, np.intp))
    chosen = np.zeros(len(sizes), np.bool_)
    chosen[places] = True
    rows = np.flatnonzero(np.repeat(chosen, sizes))
    inputs, outputs = [a[rows] for a in kept.inputs], [a[rows] for a in kept.outputs]
    return Sample(served, tier, inputs, outputs, np.cumsum(sizes[places]))


def size_of(arrays: Iterable[Array]) -> int:
    """Bytes of their elements."""
    return sum(
        sum(map(len, array.flat)) if array.dtype.kind == "O" else array.nbytes for array in arrays
    )


def _mirrored(task: Task, share: float) -> NDArray[np.bool_]:
    work = task.held.work
    offsets = np.array(task.offsets, np.uint64)
    found = mirrored(source(work.topic, work.partition), offsets, share)
    for at in _retried(task):
        extra = work.extras[task.indexes[at]]
        where, offset = coordinates(work.topic, work.partition, task.offsets[at], extra)
        origin = source(where.topic, where.partition)
        found[at] = mirrored(origin, np.array([offset], np.uint64), share)[0]
    return found


def _retried(task: Task) -> Sequence[int]:
    """Places of those that came by a retry topic: they are who they were."""
    extras = task.held.work.extras
    if not extras:
        return ()
    indexes = enumerate(task.indexes)
    return [at for at, index in indexes if "origin" in extras.get(index, NO_EXTRA)]
