"""A regression that is made up, to try things out where there are no data.

    synthetic:ROWS[,FEATURES[,SEED]]     columns x0, x1, ... and y

y is linear in x with noise of a tenth of its spread, so a model that learns nothing shows. A run's
manifest says that its data were synthetic. `tests/workers/training/test_sources.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chimera.schemas.errors import TrainingRefused

SCHEME = "synthetic:"
NOISE = 0.1


@dataclass(frozen=True, slots=True)
class SyntheticRegressionDataset:
    """Rows depend on the seed and their number alone, not on how many are asked for at once."""

    rows: int
    features: int = 8
    seed: int = 0

    @classmethod
    def of(cls, url: str) -> "SyntheticRegressionDataset":
        """Raises TrainingRefused: it has another form."""
        try:
            found = cls(*map(int, url.removeprefix(SCHEME).split(",")))
        except (ValueError, TypeError):
            raise TrainingRefused(f"{url}: should be {SCHEME}ROWS[,FEATURES[,SEED]]") from None
        if min(found.rows, found.features) < 1 or found.seed < 0:
            raise TrainingRefused(f"{url}: rows and features are 1 or more, the seed 0 or more")
        return found

    def chunks(self, chunk_rows: int) -> Iterator[pd.DataFrame]:
        """All rows, so many at a time."""
        weights = np.random.default_rng(self.seed).standard_normal(self.features)
        drawn = np.random.default_rng((self.seed, 1))
        for start in range(0, self.rows, chunk_rows):
            rows = min(chunk_rows, self.rows - start)
            numbers = drawn.standard_normal((rows, self.features + 1))
            features, noise = numbers[:, :-1], numbers[:, -1]
            spread = float(np.linalg.norm(weights))
            frame = pd.DataFrame(features, columns=[f"x{at}" for at in range(self.features)])
            frame["y"] = features @ weights + NOISE * spread * noise
            yield frame
