"""What choosing costs on the path of a request: its version, its shadow, and a batch's tier.

`python -m benchmarks.choices` prints microseconds of processor time, the best of many repetitions, so
that a busy machine disturbs it little. Blocks have 512 consecutive offsets, calls 256 rows; a tier
is chosen out of three, and its outcome is recorded.
"""

from collections.abc import Callable
from itertools import count

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.cost import cost_us
from chimera.workers.dispatching.dispatch import Call, Dispatcher, Policy
from chimera.workers.dispatching.outcomes import Outcome
from chimera.workers.dispatching.tier_order import Measured
from chimera.workers.splits import Split, mirrored, source

BLOCK, ROWS = 512, 256
REPEATS, NUMBER = 100, 100
WEIGHTS = {"1": 9.0, "2": 1.0, "3": 4.0}


def main() -> None:
    """Measure and print."""
    table = Table("what", "us a time", "us a request", title="choices, processor time")
    for versions in (1, 2, 3):
        names = list(WEIGHTS)[:versions]
        split_us = _cost_us(_splitting(Split({name: WEIGHTS[name] for name in names})))
        _row(table, f"version of a block, {versions} live", split_us, BLOCK)
    _row(table, "shadow's part of a block", _cost_us(_mirroring()), BLOCK)
    for name, deadline_us in (("", None), (", with a deadline", 1 << 60)):
        _row(table, f"tier of a batch{name}", _cost_us(_dispatching(deadline_us)), ROWS)
    Console().print(table)


def _row(table: Table, what: str, us: float, requests: int) -> None:
    table.add_row(what, f"{us:.2f}", f"{us / requests:.4f}")


def _splitting(split: Split) -> Callable[[], object]:
    at, offset = source("inference.requests", 3), count(0, BLOCK)

    def choose() -> object:
        if split.sole is not None:
            return split.sole
        first = next(offset)
        return split.pick_many(at, np.arange(first, first + BLOCK, dtype=np.uint64))

    return choose


def _mirroring() -> Callable[[], object]:
    at, offsets = source("inference.requests", 3), np.arange(BLOCK, dtype=np.uint64)
    return lambda: mirrored(at, offsets, 0.1)


def _dispatching(deadline_us: int | None) -> Callable[[], object]:
    tiers = ("onnx-cpu", "torch-cpu", "torch-compiled-cpu")
    p99_us = {1: 1_000.0, 32: 2_000.0, 256: 9_000.0}
    dispatcher = Dispatcher("m/1", [Measured(tier, True, p99_us) for tier in tiers], Policy())
    now_us = count()

    def call() -> None:
        at_us = next(now_us)
        step = dispatcher.next_tier(at_us, deadline_us, rows=ROWS)
        assert isinstance(step, Call)
        dispatcher.record(step, Outcome.COMPUTED, 5_000, at_us)

    return call


def _cost_us(work: Callable[[], object]) -> float:
    return cost_us(work, repeats=REPEATS, number=NUMBER)


if __name__ == "__main__":
    main()
