"""What is compared for drift is drawn by chance: neither copies of rows nor a run's seed make an alarm."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chimera.schemas.dataset_statistics import DatasetStatistics
from chimera.workers.training.drift import compare_stats
from chimera.workers.training.preparation import prepare
from chimera.workers.training.statistics import SAMPLE_ROWS
from tests.workers.training.places import config

ROWS, PRICES, SEEDS = 5 * SAMPLE_ROWS, 400, 200


def prepared(
    folder: Path, prices: NDArray[np.float64], seed: int, chunk_rows: int = 65_536
) -> DatasetStatistics:
    """Of a run with this seed: rows of one price have all else in common, too."""
    folder.mkdir()
    pd.DataFrame({"price": prices, "y": -prices}).to_parquet(folder / "rows.parquet")
    data = {
        "sources": [str(folder / "rows.parquet")],
        "schema": {"features": ["price"], "target": "y"},
        "chunk_rows": chunk_rows,
    }
    return prepare(config(data=data, seed=seed), folder / "data").statistics


def listed() -> NDArray[np.float64]:
    return np.random.default_rng(0).lognormal(0, 1, PRICES)


def test_equal_rows_have_one_sample_whatever_the_seed_and_the_chunks(tmp_path: Path) -> None:
    prices = np.resize(listed(), ROWS)
    first = prepared(tmp_path / "first", prices, seed=0)
    assert prepared(tmp_path / "seed", prices, seed=1) == first
    other = prepared(tmp_path / "chunks", prices, seed=2, chunk_rows=777)
    assert (other.sample, other.dataset_digest) == (first.sample, first.dataset_digest)


def test_sample_has_copies_of_nearly_all_rows_and_not_all_copies_of_some(tmp_path: Path) -> None:
    prices = np.random.default_rng(1).choice(listed(), ROWS)
    found = prepared(tmp_path / "rows", prices, seed=0)
    assert len({*found.sample["price"]}) > 0.99 * PRICES


def test_false_alarms_between_draws_of_the_same_prices_are_within_the_level(tmp_path: Path) -> None:
    """Rows of their own, and a run seed of its own, on each side; with keys by content 124 of 200."""
    alarms = 0
    for seed in range(SEEDS):
        before, now = (
            prepared(
                tmp_path / f"{seed}-{side}",
                np.random.default_rng((seed, side)).choice(listed(), ROWS),
                seed=2 * seed + side,
            )
            for side in range(2)
        )
        alarms += any(one.is_drift for one in compare_stats(before, now))
    assert alarms <= 0.05 * SEEDS
