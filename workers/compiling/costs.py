"""When making a tier has paid for itself: after so many requests at a batch size.

A request costs its share of a batch, at the median; what was spent once is making, loading and warming
beyond what the eager tier needs. Pure; `tests/workers/compiling/test_costs.py`.
"""

import math

from chimera.schemas.compile_report import Timings


def pays_after(tier: Timings, eager: Timings) -> dict[int, int | None]:
    """Rows a batch -> requests; none: never, as the tier is no faster there."""
    spent_ms = max(0.0, _once_ms(tier) - _once_ms(eager))
    base = {one.rows: one.p50_ms for one in eager.steady}
    found: dict[int, int | None] = {}
    for one in tier.steady:
        if one.rows in base:
            saved_ms = (base[one.rows] - one.p50_ms) / one.rows
            found[one.rows] = math.ceil(spent_ms / saved_ms) if saved_ms > 0 else None
    return found


def _once_ms(timings: Timings) -> float:
    return timings.compile_s * 1000 + timings.load_ms + timings.warm_up_ms
