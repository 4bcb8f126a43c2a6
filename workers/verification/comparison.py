"""Two answers to one batch, compared: errors as numbers, and the reason if they are too large.

Pure functions over arrays, in double precision. An error is measured against the largest number of its
row, the last axis, so that a row of large ones excuses no other. Where rows have one number each, that
is at least the middle one's: a small number among large ones was made of large ones too. What is NaN or
Inf in one answer alone is counted and never compared; the largest element of a row may be another where
the reference itself has the two within tolerance. `tests/workers/verification/test_comparison.py`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chimera.schemas.compile_report import Errors, Tolerance
from chimera.schemas.manifest import TensorSpec
from chimera.schemas.tensors import DATATYPES, Array

TINY = 1e-30  # below it a tensor counts as all zeros
NONE = Errors(0.0, 0.0, 1.0, 1.0, 0)

Doubles = NDArray[np.float64]


def compare(
    specs: Sequence[TensorSpec],
    expected: Sequence[Array],
    found: Sequence[Array],
    tolerance: Tolerance,
    *,
    edge: bool = False,
) -> tuple[Errors | None, str]:
    """The worst errors over all outputs, and why they are too large; empty: they are not.

    `edge`: the inputs are none like the samples, so `tolerance.edges` decides.
    """
    if len(found) != len(specs):
        return None, f"{len(found)} outputs instead of {len(specs)}"
    worst, reason = NONE, ""
    for spec, wanted, got in zip(specs, expected, found, strict=True):
        if why := _form(spec, wanted, got):
            return None, why
        if wanted.ndim == 1 and spec.shape[0] < 0:  # a number for each row of the batch
            wanted, got = wanted[:, None], got[:, None]
        errors, why = _compare_one(wanted, got, tolerance, edge)
        worst = _worse(worst, errors)
        reason = reason or (f"{spec.name!r}: {why}" if why else "")
    return worst, reason


def _form(spec: TensorSpec, wanted: Array, got: Array) -> str:
    if got.shape != wanted.shape:
        return f"{spec.name!r} has the shape {got.shape} instead of {wanted.shape}"
    kind = DATATYPES[spec.datatype].dtype.kind
    if got.dtype.kind != kind and kind != "O":
        return f"{spec.name!r} is {got.dtype} instead of {spec.datatype}"
    return ""


def _compare_one(wanted: Array, got: Array, tolerance: Tolerance, edge: bool) -> tuple[Errors, str]:
    if wanted.dtype.kind != "f":
        return _compare_exact(wanted, got, tolerance, edge)
    a, b = wanted.astype(np.float64), got.astype(np.float64)
    mismatches = int(np.count_nonzero(special(a) != special(b)))
    both = np.isfinite(a) & np.isfinite(b)
    size, other = np.where(both, a, 0.0), np.where(both, b, 0.0)
    difference, size = np.abs(size - other), np.abs(size)
    scale = _scale(size)
    allowed = tolerance.max_abs * np.maximum(1.0, scale) + tolerance.max_rel * size
    floor = np.maximum(scale * 1e-3, TINY)
    errors = Errors(
        float(np.max(difference, initial=0.0)),
        float(np.max(difference / np.maximum(size, floor), initial=0.0)),
        _cosine(a[both], b[both]),
        _agreement(a, b, allowed),
        mismatches,
    )
    if mismatches:
        return errors, f"{mismatches} of {a.size} elements are NaN or Inf on one side alone"
    if edge and tolerance.edges == "finite":
        return errors, ""
    if outside := int(np.count_nonzero(difference > allowed)):
        return errors, f"{outside} of {a.size} elements differ, by up to {errors.max_abs:.3g}"
    if errors.cosine < tolerance.min_cosine:
        return errors, f"cosine {errors.cosine:.6f}, at least {tolerance.min_cosine}"
    if errors.agreement < tolerance.min_agreement:
        return errors, f"the largest is another in {1 - errors.agreement:.1%} of rows"
    return errors, ""


def _scale(size: Doubles) -> Doubles:
    """What errors are measured against, for each row; of fewer than two axes for all of them."""
    if size.ndim < 2 or not size.size:
        return np.asarray(np.max(size, initial=0.0, keepdims=True))
    if size.shape[-1] > 1:
        return np.asarray(np.max(size, axis=-1, keepdims=True))
    ordered = np.sort(size, axis=None)
    return np.asarray(np.maximum(size, ordered[(len(ordered) - 1) // 2]))


def _compare_exact(
    wanted: Array, got: Array, tolerance: Tolerance, edge: bool
) -> tuple[Errors, str]:
    """Integers, booleans and text: equal or not."""
    equal = float(np.count_nonzero(wanted == got) / wanted.size) if wanted.size else 1.0
    errors = Errors(0.0, 0.0, 1.0, equal, 0)
    if equal < tolerance.min_agreement and not (edge and tolerance.edges == "finite"):
        return errors, f"{1 - equal:.1%} of {wanted.size} elements differ"
    return errors, ""


def is_largest(rows: Doubles, chosen: NDArray[np.intp], allowed: Doubles) -> NDArray[np.bool_]:
    """Whether the element chosen in each row is its largest, or as large within what is allowed."""
    at, best = np.arange(len(rows)), rows.argmax(1)
    with np.errstate(invalid="ignore"):  # infinities that are both the largest
        margin = rows[at, best] - rows[at, chosen]
    near = margin <= allowed[at, best] + allowed[at, chosen]
    return np.asarray((best == chosen) | near)


def special(values: Doubles) -> NDArray[np.int8]:
    """0 finite, 1 Inf, -1 -Inf, 2 NaN."""
    found = np.zeros(values.shape, np.int8)
    found[values == np.inf], found[values == -np.inf], found[np.isnan(values)] = 1, -1, 2
    return found


def _cosine(a: Doubles, b: Doubles) -> float:
    scales = (float(np.max(np.abs(a), initial=0.0)), float(np.max(np.abs(b), initial=0.0)))
    if max(scales) < TINY:
        return 1.0
    if min(scales) < TINY:
        return 0.0
    a, b = a / scales[0], b / scales[1]  # squares of large numbers would be Inf
    return float(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1.0, 1.0))


def _agreement(a: Doubles, b: Doubles, allowed: Doubles) -> float:
    """The share of rows whose largest element is the reference's, or as large within tolerance."""
    if a.ndim < 2 or a.shape[-1] < 2 or not a.size:
        return 1.0
    rows = [array.reshape(-1, a.shape[-1]) for array in (a, b, allowed)]
    clean = np.isfinite(rows[0]).all(1) & np.isfinite(rows[1]).all(1)
    if not clean.any():
        return 1.0
    a, b, allowed = (array[clean] for array in rows)
    return float(np.mean(is_largest(a, b.argmax(1), allowed)))


def _worse(one: Errors, other: Errors) -> Errors:
    return Errors(
        max(one.max_abs, other.max_abs),
        max(one.max_rel, other.max_rel),
        min(one.cosine, other.cosine),
        min(one.agreement, other.agreement),
        one.mismatches + other.mismatches,
    )
