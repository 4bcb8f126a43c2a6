"""Latencies as counts in buckets, and what they tell of a quantile, with how much certainty.

Buckets grow by 2^(1/16) = 4.4 %, as in DDSketch (Masson, Rim and Lee 2019), so any quantile is known
to within one, and counts of nodes and of moments add up. Bounds are free of any assumption on the
distribution: the 99th percentile is above x where surely more than 1 % of all latencies are, and
that is a question about a proportion (`proportions.py`). `tests/workers/watching/test_latencies.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chimera.schemas.model_observed import MAX_BUCKET
from chimera.workers.watching.proportions import Floats, surely_above, surely_below

Counts = NDArray[np.int64]

PER_OCTAVE = 16
_EDGES: Floats = np.concatenate(([0.0], 2.0 ** (np.arange(MAX_BUCKET) / PER_OCTAVE)))


@dataclass(frozen=True, eq=False)
class Latencies:
    """An immutable value; none at first."""

    counts: Counts

    @classmethod
    def of(cls, us: ArrayLike, counts: ArrayLike | None = None) -> "Latencies":
        """From microseconds, 0 or more, in any order; `counts`: how often there was each."""
        buckets = np.searchsorted(_EDGES, np.asarray(us, np.float64).ravel(), side="right") - 1
        weights = None if counts is None else np.asarray(counts, np.float64)
        return cls(np.bincount(buckets, weights, minlength=len(_EDGES)).astype(np.int64))

    @classmethod
    def in_buckets(cls, found: Mapping[int, int]) -> "Latencies":
        """The value that `buckets` tells of."""
        counts = np.zeros(len(_EDGES), np.int64)
        counts[list(found)] = list(found.values())
        return cls(counts)

    @property
    def buckets(self) -> dict[int, int]:
        """How many lie in each bucket, where any do: what goes to others (`Seen`)."""
        return {int(at): int(self.counts[at]) for at in np.flatnonzero(self.counts)}

    def __add__(self, other: "Latencies") -> "Latencies":
        return Latencies(self.counts + other.counts)

    def __len__(self) -> int:
        return int(self._at_least[0])

    def quantile_us(self, share: float) -> float:
        """An upper estimate: the end of the bucket that the quantile lies in; 0 if there is none."""
        if not len(self):
            return 0.0
        below = np.cumsum(self.counts)
        at = int(np.searchsorted(below, share * len(self)))
        return float(_EDGES[min(at + 1, len(_EDGES) - 1)])

    def bounds_us(self, share: float, z: float) -> tuple[float, float]:
        """Between what and what the quantile lies, each surely to `z`; 0 and infinite if unknown."""
        slower, count = self._at_least, len(self)
        below = np.flatnonzero(surely_above(slower, count, 1 - share, z))
        above = np.flatnonzero(surely_below(slower, count, 1 - share, z))
        return (
            float(_EDGES[below[-1]]) if len(below) else 0.0,
            float(_EDGES[above[0]]) if len(above) else inf,
        )

    @cached_property
    def _at_least(self) -> Counts:
        """How many are not below each edge."""
        return np.cumsum(self.counts[::-1])[::-1]


NONE = Latencies.of(())
