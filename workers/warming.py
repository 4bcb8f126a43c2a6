"""A tier's first calls, before anybody waits for them: libraries allocate, choose and compile at these.

At one row, at the largest batch, and at the sizes that were measured, with zeros, until calls are
steady or their time is over. `tests/workers/test_warming.py`.
"""

from collections.abc import Iterable

import numpy as np
import structlog

from chimera.schemas.errors import ModelFailed, OutOfMemory
from chimera.schemas.manifest import Manifest
from chimera.schemas.tensors import DATATYPES, Array
from chimera.workers.backends.protocol import Backend
from chimera.workers.compiling.measurement import warm_up

log = structlog.get_logger(__name__)

WITHIN_S = 0.5  # for one batch size; a single call may take longer
MAX_BYTES = 64 << 20  # of a batch's inputs: a larger one is not made up for this


def warm(
    backend: Backend,
    manifest: Manifest,
    max_rows: int,
    measured: Iterable[int],
    within_s: float = WITHIN_S,
) -> None:
    """Raises DeviceLost. Whatever else is wrong with zeros is no fault of the tier's."""
    for rows in _sizes(manifest, max_rows, measured):
        try:
            warm_up(backend, {rows: _zeros(manifest, rows)}, within_s)
        except (ModelFailed, OutOfMemory, MemoryError) as error:
            log.info("model_warm_up_failed", model=manifest.name, rows=rows, reason=str(error))
            return


def _sizes(manifest: Manifest, max_rows: int, measured: Iterable[int]) -> list[int]:
    """Rows of the batches; larger ones than a batch may be, or than may be made up, are left out."""
    if not manifest.batches:
        return [1]
    row_bytes = sum(array.nbytes for array in _zeros(manifest, 1))
    most = min(max_rows, max(1, MAX_BYTES // max(1, row_bytes)))
    return sorted({1, *(rows for rows in (*measured, max_rows) if rows <= most)})


def _zeros(manifest: Manifest, rows: int) -> list[Array]:
    """A batch; sizes that vary otherwise are 1."""
    inputs: list[Array] = []
    for spec in manifest.inputs:
        datatype = DATATYPES[spec.datatype]
        shape = [1 if size < 0 else size for size in spec.shape]
        if manifest.batches:
            shape[0] = rows
        zeros: Array = np.zeros(shape, datatype.dtype)
        if datatype.kind == "bytes":
            zeros.fill(b"")
        inputs.append(zeros)
    return inputs
