"""The order in which a model's variants are tried: the fastest that is verified, first.

The same arithmetic as dispatch has (`workers/dispatching/tier_order.py`), over a whole report: the measured 99th
percentiles at the batch sizes in use, and between sizes the straight line; equal ones in the design's
order, what was never measured last. A tier in two precisions is two variants here, and the one that
is as fast and more exact comes first. Pure; `tests/workers/dispatching/test_choice.py` has its properties.
"""

import math
from collections.abc import Sequence

from chimera.schemas.compile_report import PRECISIONS, CompileReport, TierReport
from chimera.schemas.tiers import BY_NAME
from chimera.workers.dispatching.tier_order import Measured


def choose(report: CompileReport, batch_sizes: Sequence[int]) -> tuple[TierReport, ...]:
    """Variants that may serve, best first; `batch_sizes` in rows, a size named twice counts twice.

    Experimental tiers are left out. Without any sizes, all that were measured count.
    """
    verified = [tier for tier in report.tiers if measured(tier).may_serve]
    return tuple(sorted(verified, key=lambda tier: (_score(tier, batch_sizes), *_order(tier))))


def measured(tier: TierReport) -> Measured:
    """What dispatch needs to know of it."""
    steady = tier.timings.steady if tier.timings else ()
    p99_us = {one.rows: one.p99_ms * 1000 for one in steady}
    return Measured(tier.tier, tier.verdict == "verified", p99_us)


def _score(tier: TierReport, batch_sizes: Sequence[int]) -> float:
    found = measured(tier)
    return math.fsum(found.expected_us(rows) for rows in batch_sizes or found.p99_us or (1,))


def _order(tier: TierReport) -> tuple[int, int]:
    """The design's, and the more exact variant of a tier first."""
    return BY_NAME[tier.tier].number, PRECISIONS.index(tier.precision)
