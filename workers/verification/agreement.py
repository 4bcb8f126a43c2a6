"""Whether another version answered the same requests alike: one claim for each row.

    scores    floats, as many in a row as the manifest has labels: both versions' largest has one label
    floats    each is as near as two verified tiers of one version may be, or the manifest's `tolerance`
    others    equal

An output that the other version lacks, or has in another form, agrees in no row; one that it has
beside is not looked at. So a version agrees with itself, whatever tiers computed it and in whatever
batches, and what is compared does not depend on a row's neighbours. `tests/workers/verification/test_agreement.py`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chimera.schemas.compile_report import Precision, read_variant
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.schemas.tensors import Array
from chimera.workers.verification.comparison import Doubles, is_largest, special
from chimera.workers.verification.tolerances import TOLERANCES

Claims = NDArray[np.bool_]

_OF_DATATYPE: Mapping[str, Precision] = {"FP16": "fp16", "BF16": "bf16"}


class Answered(NamedTuple):
    """By one version, in one tier: its outputs in its manifest's order, rows first."""

    manifest: Manifest
    tier: str
    outputs: Sequence[Array]


def agreeing(served: Answered, other: Answered) -> Claims:
    """For each row that was served, whether the other answered it alike."""
    found: Claims = np.ones(len(served.outputs[0]), np.bool_)
    theirs = dict(zip(_names(other.manifest), other.outputs, strict=True))
    tolerance = max(served.manifest.tolerance, other.manifest.tolerance)
    for spec, wanted in zip(served.manifest.outputs, served.outputs, strict=True):
        got = theirs.get(spec.name)
        if got is None or got.dtype.kind != wanted.dtype.kind or got.ndim != wanted.ndim:
            return np.zeros_like(found)
        labels = _labels(served.manifest, wanted), _labels(other.manifest, got)
        is_scored = all(labels)
        if got.shape[: -1 if is_scored else None] != wanted.shape[: -1 if is_scored else None]:
            return np.zeros_like(found)
        if wanted.dtype.kind != "f":
            found &= _by_row(wanted == got, found)
            continue
        tiers = served.tier, other.tier
        near = _near(wanted, spec, tiers, 0.0 if is_scored else tolerance)
        same = _same_label(wanted, got, near, *labels) if is_scored else _close(wanted, got, near)
        found &= _by_row(same, found)
    return found


def _names(manifest: Manifest) -> list[str]:
    return [spec.name for spec in manifest.outputs]


def _labels(manifest: Manifest, output: Array) -> Sequence[str]:
    """Of a row's elements, if they are scores."""
    labels = manifest.labels
    is_scored = output.dtype.kind == "f" and output.ndim > 1 and output.shape[-1] == len(labels) > 1
    return labels if is_scored else ()


def _near(wanted: Array, spec: TensorSpec, tiers: Sequence[str], tolerance: float) -> Doubles:
    """How far from each element another's may be: both tiers may differ from their reference."""
    sizes = np.abs(np.where(np.isfinite(wanted), wanted, 0)).astype(np.float64)
    axes = tuple(range(1, sizes.ndim))
    scale = sizes.max(axis=axes, keepdims=True, initial=0.0)
    near: Doubles = tolerance * scale + np.zeros_like(sizes)
    allowed = np.zeros_like(sizes)
    for tier in tiers:
        one = TOLERANCES[_coarser(_precision(tier), _OF_DATATYPE.get(spec.datatype, "fp32"))]
        allowed += one.max_abs * np.maximum(1.0, scale) + one.max_rel * sizes
    return np.maximum(near, allowed)


def _precision(tier: str) -> Precision:
    try:
        return read_variant(tier)[1]
    except ModelRefused:  # a later release may know more
        return "fp32"


def _coarser(one: Precision, other: Precision) -> Precision:
    return max(one, other, key=lambda precision: TOLERANCES[precision].max_abs)


def _close(wanted: Array, got: Array, near: Doubles) -> Claims:
    a, b = wanted.astype(np.float64), got.astype(np.float64)
    both = np.isfinite(a) & np.isfinite(b)
    difference = np.abs(np.where(both, a, 0.0) - np.where(both, b, 0.0))
    return np.asarray((special(a) == special(b)) & (difference <= near))


def _same_label(
    wanted: Array, got: Array, near: Doubles, labels: Sequence[str], theirs: Sequence[str]
) -> Claims:
    """For each vector of scores: their largest has the label of ours, or of one that is as large."""
    width = len(labels)
    a, b = wanted.reshape(-1, width).astype(np.float64), got.reshape(-1, len(theirs))
    ours = np.array([labels.index(label) if label in labels else -1 for label in theirs])
    chosen = ours[b.argmax(1)]
    same = is_largest(a, chosen, near.reshape(-1, width)) & (chosen >= 0)
    return np.asarray(same & (np.isnan(a).any(1) == np.isnan(b).any(1)))


def _by_row(claims: Array, rows: Claims) -> Claims:
    """All of each row's together."""
    return np.asarray(claims.reshape(len(rows), -1).all(1), np.bool_)
