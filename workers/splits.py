"""Which version of a model computes a request: a split by weights, told by the request's identity.

A request is (topic, partition, offset), so a rerun picks the same version, on any node (logarithms
that differ in their last bit between processors may part them for one request in 10^14). Weighted
rendezvous hashing (Schindelhauer and Schomaker 2005, the logarithmic method): each version draws
-ln(u) / weight for each request, the smallest wins. The order of the versions does not matter, only
ratios of weights do, and a request moves from one version to another only if the other's weight has
grown against the first's; changing one weight moves just the difference of the shares. u comes from
SplitMix64 (Steele, Lea and Flood 2014) over the offset and from BLAKE2b of the names. A model with
one version costs nothing (`sole`), one with two 0.04 us a request (`python -m benchmarks.choices`).
`tests/workers/test_splits.py`, with known vectors.
"""

from collections.abc import Mapping
from hashlib import blake2b
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from chimera.schemas.errors import ConfigurationError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_TO_52_BITS = np.uint64(12)
_SHADOW = "\0shadow"  # no version is called so

Offsets = NDArray[np.uint64]


class Split:
    """Of one model: weights of its versions, which need not sum to anything."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        """A version that weighs 0 gets no request.

        Raises:
            ConfigurationError: a weight is negative or no number, or none is above 0.
        """
        for version, weight in weights.items():
            if not (isfinite(weight) and weight >= 0):
                raise ConfigurationError(f"version {version!r}: a weight of {weight}")
        self.versions = tuple(sorted(version for version, weight in weights.items() if weight))
        if not self.versions:
            raise ConfigurationError(f"no version of {sorted(weights)} has a weight above 0")
        self._seeds = np.array([[_digest(version)] for version in self.versions], np.uint64)
        self._rates = np.array([[-1.0 / weights[version]] for version in self.versions])

    @property
    def sole(self) -> str | None:
        """The version that gets every request, if there is only one."""
        return self.versions[0] if len(self.versions) == 1 else None

    def pick(self, topic: str, partition: int, offset: int) -> str:
        """The version of one request."""
        if len(self.versions) == 1:
            return self.versions[0]
        offsets = np.array([offset], np.uint64)
        return self.versions[int(self.pick_many(source(topic, partition), offsets)[0])]

    def pick_many(self, source: np.uint64, offsets: Offsets) -> NDArray[np.intp]:
        """Indexes into `versions`, one an offset, of requests of one partition."""
        if len(self.versions) == 1:
            return np.zeros(len(offsets), np.intp)
        drawn = np.log(_uniform(_mixed(_identities(source, offsets) ^ self._seeds)))
        drawn *= self._rates
        found: NDArray[np.intp] = drawn.argmin(axis=0)
        return found


def source(topic: str, partition: int) -> np.uint64:
    """What `pick_many` and `mirrored` know a partition by; to be kept, it costs a hash."""
    return np.uint64(_digest(f"{topic}:{partition}"))


def mirrored(source: np.uint64, offsets: Offsets, share: float) -> NDArray[np.bool_]:
    """Which requests a shadow version computes too; a larger share keeps those of a smaller one."""
    if share >= 1 or share <= 0:
        return np.full(len(offsets), share >= 1)
    seed = np.uint64(_digest(_SHADOW))
    return _uniform(_mixed(_identities(source, offsets) ^ seed)) < share


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _identities(source: np.uint64, offsets: Offsets) -> NDArray[np.uint64]:
    """64 bits for each request: SplitMix64 from `source` on, at the offset's step."""
    return _mixed(offsets * _GOLDEN + source)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output function; spoils `state`."""
    scratch = np.empty_like(state)
    for shift, factor in zip(_SHIFTS, _FACTORS, strict=False):
        np.right_shift(state, shift, out=scratch)
        state ^= scratch
        state *= factor
    np.right_shift(state, _SHIFTS[2], out=scratch)
    state ^= scratch
    return state


def _uniform(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Above 0 and below 1, in steps of 2^-52; spoils `bits`."""
    bits >>= _TO_52_BITS
    found = bits.astype(np.float64)
    found += 0.5
    found *= 2.0**-52
    return found
