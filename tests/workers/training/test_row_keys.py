"""Keys are those of plain integers, for every shape and chunk, and as even as dice."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from chimera.workers.training.row_keys import BLOCK_ROWS, GOLDEN, place_keys, row_keys

ROUND = 2**64


def mixed(number: int) -> int:
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 % ROUND
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB % ROUND
    return number ^ (number >> 31)


def by_hand(row: bytes, seed: int) -> int:
    """As the module's docstring has it, without numpy."""
    words = [int.from_bytes(row[at : at + 4], "little") for at in range(0, len(row), 4)]
    factors = [mixed((seed + (at + 1) * GOLDEN) % ROUND) for at in range(len(words) + 1)]
    pairs = zip(factors[1:], words, strict=True)
    return mixed((factors[0] + sum(one * other for one, other in pairs)) % ROUND)


def test_numbers_are_those_of_splitmix64() -> None:
    """Its reference implementation's first three for the seed 1234567."""
    found = [mixed((1_234_567 + at * GOLDEN) % ROUND) for at in (1, 2, 3)]
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(
    features=arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 5))),
    seed=st.integers(0, 2**32 - 1),
)
def test_keys_are_those_of_plain_integers(features: NDArray[np.float32], seed: int) -> None:
    target = np.arange(len(features), dtype=np.int64)
    wanted = [
        by_hand(row.tobytes() + goal.tobytes(), seed)
        for row, goal in zip(features, target, strict=True)
    ]
    assert row_keys((features, target), seed).tolist() == wanted


@pytest.mark.parametrize("chunk", [1, 7, BLOCK_ROWS, BLOCK_ROWS + 1])
def test_key_does_not_depend_on_the_rows_beside_it(chunk: int) -> None:
    rows = BLOCK_ROWS + 3
    features = np.random.default_rng(0).random((rows, 3)).astype(np.float32)
    target = np.arange(rows, dtype=np.float32)
    parts = [
        row_keys((features[at : at + chunk], target[at : at + chunk]), 5)
        for at in range(0, min(rows, 40 * chunk), chunk)
    ]
    found = np.concatenate(parts)
    assert np.array_equal(found, row_keys((features, target), 5)[: len(found)])


def test_known_keys_stay() -> None:
    """Of every release: else a row that was held out is trained on."""
    features = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, -2.0]], np.float32)
    target = np.array([1, 0, 3], np.int64)
    assert row_keys((features, target), 0).tolist() == [
        2872810411337081736,
        5556879463075166985,
        1431504009823185930,
    ]


def test_keys_of_places_are_splitmix64s_and_do_not_depend_on_chunks() -> None:
    found = np.concatenate([place_keys(0, 4), place_keys(4, 1), place_keys(5, 995)])
    assert found.tolist() == [mixed((at + 1) * GOLDEN % ROUND) for at in range(1_000)]


@pytest.mark.parametrize("kind", ["counting", "sparse", "constant but one"])
def test_keys_of_rows_that_look_alike_are_even(kind: str) -> None:
    """Chi-square over 64 cells of the low and of the high bits, at a level of one in a million."""
    from scipy.stats import chi2

    rows = 20_000
    features = np.zeros((rows, 8), np.float32)
    target = np.zeros(rows, np.float32)
    if kind == "counting":
        target = np.arange(rows, dtype=np.float32)
    elif kind == "sparse":
        features[np.arange(rows), np.arange(rows) % 8] = np.arange(rows) // 8 + 1
    else:
        features[:] = 3.5
        features[:, 4] = np.linspace(0, 1, rows)
    keys = row_keys((features, target), 9)
    for cells in (keys % np.uint64(64), keys >> np.uint64(58)):
        counts: Any = np.bincount(cells.astype(np.int64), minlength=64)
        expected = rows / 64
        assert ((counts - expected) ** 2 / expected).sum() < chi2.isf(1e-6, 63)
