"""Whether two answers to one request say the same. Pure.

    scores           floats with a column for each of the manifest's labels: the largest is the same
                     one, or as large within tolerance; how large they are does not matter
    other floats     within the tolerance of the coarser one of both tiers' precisions, or a given one
    everything else  integers, booleans and text are equal

Versions differ in more than the order of additions, so that scores are asked for what is made of
them, and a regression wants a tolerance of its own. NaN and Inf agree with themselves alone.
`tests/workers/replaying/test_agreement.py`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from chimera.schemas.compile_report import PRECISIONS, Precision, Tolerance, read_variant
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import TensorSpec
from chimera.schemas.responses import Output
from chimera.workers.verification.comparison import compare
from chimera.workers.verification.tolerances import TOLERANCES


class Rule(NamedTuple):
    """How answers of one model are compared."""

    labels: int = 0  # columns of a score vector; below 2: there is none
    tolerance: float | None = None  # of other floats, to the tensor's largest; None: the tiers'

    def of(self, *tiers: str) -> Tolerance:
        """For answers of these tiers."""
        if self.tolerance is None:
            coarsest: Precision = max(map(_precision, tiers), key=PRECISIONS.index)
            return replace(TOLERANCES[coarsest], min_agreement=1.0)
        return Tolerance(self.tolerance, self.tolerance, -1.0, 1.0, "close")


def disagreement(
    served: Sequence[Output], found: Sequence[Output], rule: Rule, tolerance: Tolerance
) -> str:
    """In what they differ; empty: they agree."""
    others = {one.name: one for one in found}
    if sorted(others) != sorted(one.name for one in served):
        return f"outputs {sorted(others)} instead of {sorted(one.name for one in served)}"
    for one in served:
        why = _difference(one, others[one.name], rule, tolerance)
        if why:
            return why
    return ""


def _difference(one: Output, other: Output, rule: Rule, tolerance: Tolerance) -> str:
    if one.datatype != other.datatype:
        return f"{one.name!r} is {other.datatype} instead of {one.datatype}"
    spec = TensorSpec(one.name, one.datatype, ())
    errors, reason = compare([spec], [one.array], [other.array], tolerance)
    if errors is None or not _is_scores(one, rule):
        return reason
    if errors.mismatches:
        return reason
    if errors.agreement < 1.0:
        return f"{one.name!r}: the largest is {_largest(other)} instead of {_largest(one)}"
    return ""


def _is_scores(one: Output, rule: Rule) -> bool:
    shape = one.array.shape
    return (
        one.array.dtype.kind == "f"
        and rule.labels > 1
        and len(shape) > 1
        and shape[-1] == rule.labels
    )


def _largest(one: Output) -> str:
    """The column of each row; of the first few."""
    rows = np.nan_to_num(one.array.reshape(-1, one.array.shape[-1]), nan=-np.inf)
    shown = [str(column) for column in rows[:5].argmax(1)]
    return ", ".join(shown) + (", ..." if len(rows) > 5 else "")


def _precision(tier: str) -> Precision:
    try:
        return read_variant(tier)[1]
    except ModelRefused:  # of a release that has other tiers
        return "fp32"
