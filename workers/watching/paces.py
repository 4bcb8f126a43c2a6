"""How long batches of a size take: a version's own speed, however many callers wait for it.

Callers' latencies have queues in them, so a burst makes any version look slow. What an executor
works for a batch of so many rows has none (`workers/reporting.py`). Sizes are alike within 19 %.
`tests/workers/watching/test_paces.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log2

from chimera.workers.watching.latencies import Latencies

SIZES_PER_OCTAVE = 4
SHARE = 0.99


@dataclass(frozen=True, eq=False)
class Paces:
    """An immutable value; none at first."""

    by_size: Mapping[int, Latencies] = field(default_factory=dict[int, Latencies])

    @classmethod
    def in_buckets(cls, found: Mapping[int, Mapping[int, int]]) -> "Paces":
        """The value that `buckets` tells of."""
        return cls({size: Latencies.in_buckets(counts) for size, counts in found.items()})

    @property
    def buckets(self) -> dict[int, dict[int, int]]:
        """How many batches lie in each bucket, by their size's: what goes to others (`Seen`)."""
        return {size: times.buckets for size, times in sorted(self.by_size.items())}

    def __add__(self, other: "Paces") -> "Paces":
        added = dict(self.by_size)
        for size, times in other.by_size.items():
            added[size] = added[size] + times if size in added else times
        return Paces(added)

    def is_slower(
        self, ratio: float, than: "Paces", *, z_slower: float, z_kept: float
    ) -> bool | None:
        """Whether batches of some size surely take more than `ratio` times as long as `than`'s.

        False: those of one surely do not, and those of none do. None: too few to tell, of each.
        """
        common = [
            (self.by_size[size], than.by_size[size])
            for size in self.by_size
            if size in than.by_size
        ]
        if any(
            ours.bounds_us(SHARE, z_slower)[0] > ratio * theirs.bounds_us(SHARE, z_slower)[1]
            for ours, theirs in common
        ):
            return True
        is_kept = any(
            ours.bounds_us(SHARE, z_kept)[1] <= ratio * theirs.bounds_us(SHARE, z_kept)[0]
            for ours, theirs in common
        )
        return False if is_kept else None


def size_of(rows: int) -> int:
    """The number of a batch's size, 1 row or more."""
    return int(SIZES_PER_OCTAVE * log2(rows))
