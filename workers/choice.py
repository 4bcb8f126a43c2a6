"""The order in which a model's tiers are tried: the fastest that is verified, first.

What counts is the measured 99th percentile at the batch sizes in use: each size counts the same,
however long it takes, so that a tier is judged by its ratio to the others. The design's order breaks
ties and ranks what was verified and never measured. An experimental tier is here like any other: that
it is verified is the report from a device that it lacked. A pure function, as a report is all it
needs; `tests/workers/test_choice.py` has its properties.
"""

import math
from collections.abc import Sequence

from chimera.schemas.compile_report import PRECISIONS, CompileReport, Steady, TierReport
from chimera.schemas.tiers import BY_NAME

FLOOR_MS = 1e-6  # a clock that did not move


def choose(report: CompileReport, batch_sizes: Sequence[int]) -> tuple[TierReport, ...]:
    """Verified variants, best first; `batch_sizes` in rows, a size named twice counts twice.

    A size that was not measured counts as the next larger one that was, or as the largest. Without
    any sizes all that were measured count.
    """
    verified = [tier for tier in report.tiers if tier.verdict == "verified"]
    return tuple(sorted(verified, key=lambda tier: (_score(tier, batch_sizes), *_order(tier))))


def _score(tier: TierReport, batch_sizes: Sequence[int]) -> float:
    """The mean logarithm of its p99; infinite where nothing was measured."""
    steady = sorted(tier.timings.steady if tier.timings else (), key=lambda one: one.rows)
    if not steady:
        return math.inf
    sizes = batch_sizes or [one.rows for one in steady]
    return math.fsum(math.log(max(_p99(steady, rows), FLOOR_MS)) for rows in sizes) / len(sizes)


def _p99(steady: Sequence[Steady], rows: int) -> float:
    return next((one.p99_ms for one in steady if one.rows >= rows), steady[-1].p99_ms)


def _order(tier: TierReport) -> tuple[int, int]:
    """The design's, and the more exact variant of a tier first."""
    return BY_NAME[tier.tier].number, PRECISIONS.index(tier.precision)
