"""64 bits for each row: of its content and a seed, which part a data set; of its place, which draw its sample.

    key = mix(k_0 + sum of k_i * word_i)     mod 2^64; words: a row's bytes as 32-bit numbers
    key of a place = mix(place * golden)     SplitMix64's numbers, which are all different

By content equal rows stay together, which a sample must not: it would have all copies of some rows, and
none of others. Multilinear hashing (Lemire and Kaser 2014, "Strongly universal string hashing is fast"), multipliers
and `mix` of SplitMix64 (Steele, Lea and Flood 2014). Integers alone, so a row has its key on every
machine and in chunks of any size. Manifests name the `RULE`: another rule holds out other rows.
`tests/workers/training/test_row_keys.py` has known keys, and compares with plain Python.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

RULE = 2  # 1: BLAKE2b of each row by itself, 60 times slower
BLOCK_ROWS = 4_096  # words of so many rows at a time stay in the processor's cache
GOLDEN = 0x9E37_79B9_7F4A_7C15  # SplitMix64's increment


def row_keys(arrays: Sequence[NDArray[Any]], seed: int) -> Keys:
    """One key for each row, of its values in all arrays. [rows, ...] each, of 4 or 8 bytes a value."""
    words = [np.ascontiguousarray(one).reshape(len(one), -1).view("<u4") for one in arrays]
    multipliers = _multipliers(seed, 1 + sum(one.shape[1] for one in words))
    found = np.full(len(words[0]), multipliers[0])
    at = 1
    for one in words:
        mine = multipliers[at : at + one.shape[1]]
        for start in range(0, len(one), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            found[block] += one[block].astype(np.uint64) @ mine
        at += one.shape[1]
    return _mix(found)


def place_keys(done: int, count: int) -> Keys:
    """Of so many rows that follow the first `done` ones: chance, the same for all data sets."""
    return _mix(np.arange(done + 1, done + count + 1, dtype=np.uint64) * np.uint64(GOLDEN))


def _multipliers(seed: int, count: int) -> Keys:
    """SplitMix64's first numbers."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    return _mix(steps + np.uint64(seed))


def _mix(found: Keys) -> Keys:
    """Each bit of the result depends on all bits; two numbers never become one."""
    found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return found ^ (found >> np.uint64(31))
