"""The order in which a model version's tiers are tried: the fastest at what is being served first.

A tier that wins with one row may lose with 256, so each is judged by its measured 99th percentiles
at the batch sizes in use, each size weighing as much as its share of what is served. Between two
measured sizes a batch takes as long as on the straight line between them, above the largest as long
as on the line through the last two: a batch is a fixed cost and one for each row. Tiers
that were not measured come last; equal ones keep the order of `schemas/tiers.py`.
`tests/workers/dispatching/test_tier_order.py`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import inf

from chimera.schemas.compile_report import read_variant
from chimera.schemas.errors import ModelRefused
from chimera.schemas.tiers import BY_NAME

HALF_LIFE_CALLS = 1_024


@dataclass(frozen=True, slots=True)
class Measured:
    """A tier of a version as it stands in its compile report."""

    tier: str  # or a variant of it, as it is called in the report
    verified: bool
    p99_us: Mapping[int, float] = field(default_factory=dict[int, float])  # by rows of a batch

    @property
    def may_serve(self) -> bool:
        """Verified, and of a kind that was ever seen to run on its device."""
        tier = BY_NAME.get(_tier_of(self.tier))  # a later release may know more
        return self.verified and tier is not None and not tier.experimental

    def expected_us(self, rows: int) -> float:
        """The 99th percentile of a batch of so many rows; infinite if nothing was measured."""
        points = sorted(self.p99_us.items())
        if not points:
            return inf
        if rows <= points[0][0] or len(points) == 1:
            return points[0][1] * max(1.0, rows / points[0][0])
        at = next((at for at, (size, _) in enumerate(points) if size >= rows), len(points) - 1)
        (low, low_us), (high, high_us) = points[at - 1], points[at]
        found_us = low_us + (high_us - low_us) * (rows - low) / (high - low)
        return found_us if rows <= high else max(found_us, high_us)


def order(measured: Collection[Measured], in_use: Mapping[int, float]) -> tuple[str, ...]:
    """Names of the tiers that may serve, the best first; `in_use`: rows of a batch -> share."""
    sizes = in_use or {1: 1.0}

    def rank(one: Measured) -> tuple[float, int]:
        expected_us = sum(share * one.expected_us(rows) for rows, share in sizes.items() if share)
        return expected_us, BY_NAME[_tier_of(one.tier)].number

    return tuple(one.tier for one in sorted(filter(_may_serve, measured), key=rank))


def _tier_of(name: str) -> str:
    """Of a variant's name."""
    try:
        return read_variant(name)[0]
    except ModelRefused:
        return name


def _may_serve(one: Measured) -> bool:
    return one.may_serve


class Usage:
    """Batch sizes that were computed lately, to powers of two; older ones count less and less."""

    def __init__(self) -> None:
        self._requests: dict[int, float] = {}
        self._calls = 0

    def add(self, rows: int) -> None:
        size = 1 << (rows - 1).bit_length()
        self._requests[size] = self._requests.get(size, 0.0) + rows
        self._calls += 1
        if self._calls % HALF_LIFE_CALLS == 0:
            self._requests = {size: count / 2 for size, count in self._requests.items()}

    def shares(self) -> dict[int, float]:
        """Rows of a batch -> share of the rows that were computed in such batches."""
        total = sum(self._requests.values())
        return {size: count / total for size, count in self._requests.items()} if total else {}
