"""What a count tells of the proportion behind it, and how surely: errors among requests, say.

Below a limit: the upper bound of Wilson's (1927) score interval is. Above it: Chernoff's bound on
the chance of so many hits if the limit were kept (Hoeffding 1963, theorem 1) is small enough. The
score interval would not do there: of rare events its lower bound is far too bold while counts are
small, and 1 error of 1 would prove a rate above 1 %, at any usual certainty, which happens every
hundredth time. `z` is the normal distribution's quantile of the certainty, of one side: 1.645 errs
1 in 20, 3.29 1 in 2,000. `tests/workers/watching/test_proportions.py`.
"""

from math import erfc, log, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Claims = NDArray[np.bool_]


def wilson(hits: ArrayLike, trials: int, z: float) -> tuple[Floats, Floats]:
    """Lower and upper bounds of proportions, of each of which `hits` of `trials` were seen.

    With no trials: 0 and 1.
    """
    counted = np.asarray(hits, np.float64)
    if not trials:
        return np.zeros_like(counted), np.ones_like(counted)
    share: Floats = counted / trials
    spread = z * z / trials
    middle: Floats = share + spread / 2
    half: Floats = np.sqrt(spread * (share * (1 - share) + spread / 4))
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return np.maximum(low, 0.0), np.minimum(high, 1.0)


def surely_below(hits: ArrayLike, trials: int, limit: float, z: float) -> Claims:
    """Whether each proportion is below `limit`, or at it."""
    return wilson(hits, trials, z)[1] <= limit


def surely_above(hits: ArrayLike, trials: int, limit: float, z: float) -> Claims:
    """Whether each proportion is above `limit`; where that is 0, one hit is enough."""
    counted = np.asarray(hits, np.float64)
    if limit <= 0 or limit >= 1 or not trials:
        return (counted > 0) & (limit <= 0)
    share: Floats = counted / trials
    rest: Floats = 1 - share
    divergence: Floats = _x_log_ratio(share, limit) + _x_log_ratio(rest, 1 - limit)
    return (share > limit) & (trials * divergence > -log(erfc(z / sqrt(2)) / 2))


def _x_log_ratio(x: Floats, y: float) -> Floats:
    """x ln(x / y), and 0 where x is."""
    return x * (np.log(np.where(x > 0, x, y)) - log(y))
