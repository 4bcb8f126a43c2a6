"""The inputs that artifacts are verified on: samples, and edges that are made of them.

Floats: zeros, sixteen times the largest sample, denormals, and NaN in one row. Integers: the lowest
and the highest of the samples, as what lies outside their range need not be an input at all; all
false and all true. Each at several batch sizes: one, a middle one, the largest, one that is no
bucket, and every size that is measured. The same samples always give the same cases.
`tests/workers/verification/test_cases.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.schemas.tensors import DATATYPES, Array

LARGE = 16.0
SEED = 20_240
SAMPLES = "samples"
NAN = "nan"


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One batch of inputs, in the manifest's order."""

    name: str
    rows: int
    inputs: tuple[Array, ...]

    @property
    def edge(self) -> bool:
        return self.name != SAMPLES


def sizes(max_rows: int, measured: Sequence[int]) -> tuple[int, ...]:
    """Batch sizes to verify: no size is measured, and so none chosen by, that is not among them."""
    middle = max(1, max_rows // 2)
    buckets = {1, middle, max_rows, *(rows for rows in measured if rows <= max_rows)}
    free = (rows for rows in range(min(37, max_rows), 0, -1) if rows not in buckets)
    return tuple(sorted({*buckets, next(free, 1)}))


def cases(manifest: Manifest, samples: Mapping[str, Array], rows: Sequence[int]) -> list[Case]:
    """Every case at every size; a model without batches gets its samples as they are, once."""
    check_samples(manifest, samples)
    found: list[Case] = []
    for size in rows if manifest.batches else (1,):
        plain = [_rows_of(spec, manifest, samples, size) for spec in manifest.inputs]
        found.append(Case(SAMPLES, size, tuple(plain)))
        kinds = {DATATYPES[spec.datatype].kind for spec in manifest.inputs}
        names = [
            *(("zeros", "large", "denormal", NAN) if "float" in kinds else ()),
            *(("lowest", "highest") if kinds & {"int", "uint", "bool"} else ()),
        ]
        for name in names:
            edged = (
                _edge(name, array, samples.get(spec.name, array))
                for spec, array in zip(manifest.inputs, plain, strict=True)
            )
            found.append(Case(name, size, tuple(edged)))
    return found


def poisoned_row(rows: int) -> int:
    """Which row of a batch the case `nan` spoils; the others must not notice."""
    return rows // 2


def check_samples(manifest: Manifest, samples: Mapping[str, Array]) -> None:
    """Raises ModelRefused: samples that are not what the manifest says its inputs are."""
    where = f"{manifest.name}/{manifest.version}: {manifest.samples}"
    if samples and set(samples) != {spec.name for spec in manifest.inputs}:
        raise ModelRefused(f"{where}: has {sorted(samples)}, not the manifest's inputs")
    for spec in manifest.inputs if samples else ():
        array, dtype = samples[spec.name], DATATYPES[spec.datatype].dtype
        if array.dtype != dtype:
            raise ModelRefused(f"{where}: {spec.name!r} is {array.dtype}, should be {dtype}")
        fits = len(array.shape) == len(spec.shape) and all(
            size == wanted or wanted < 0
            for size, wanted in zip(array.shape, spec.shape, strict=True)
        )
        if not fits or not array.size:
            raise ModelRefused(
                f"{where}: {spec.name!r} has the shape {array.shape}, not {spec.shape}"
            )


def _rows_of(
    spec: TensorSpec, manifest: Manifest, samples: Mapping[str, Array], rows: int
) -> Array:
    """The samples over and over; without any, numbers around zero, small integers, or text."""
    if spec.name in samples:
        array = samples[spec.name]
        return array[np.arange(rows) % len(array)] if manifest.batches else array
    shape = [1 if size < 0 else size for size in spec.shape]
    if manifest.batches:
        shape[0] = rows
    random = np.random.default_rng([SEED, manifest.inputs.index(spec)])
    datatype = DATATYPES[spec.datatype]
    if datatype.kind == "float":
        return random.standard_normal(shape).astype(datatype.dtype)
    if datatype.kind == "bytes":
        text = np.empty(shape, object)
        text.fill(b"sample")
        return text
    return random.integers(0, 2, shape).astype(datatype.dtype)


def _edge(name: str, array: Array, samples: Array) -> Array:
    """An input at the edge of all samples; one of a kind that has no such edge stays as it is."""
    kind = array.dtype.kind
    if kind in "iub" and name in ("lowest", "highest"):
        return np.full_like(array, samples.min() if name == "lowest" else samples.max())
    if kind != "f" or name in ("lowest", "highest"):
        return array
    if name == "zeros":
        return np.zeros_like(array)
    if name == NAN:
        spoilt = array.copy()
        at = poisoned_row(len(array)) if array.ndim else ()
        spoilt[at] = np.nan
        return spoilt
    largest = float(np.max(np.abs(array), initial=0.0)) or 1.0
    limit = float(np.finfo(array.dtype).max)
    target = min(float(np.max(np.abs(samples), initial=0.0)) * LARGE or 1.0, limit / 2)
    if name == "denormal":
        target = float(np.finfo(array.dtype).smallest_subnormal) * 64
    scaled: Array = array / array.dtype.type(largest) * array.dtype.type(target)
    return scaled.astype(array.dtype)
