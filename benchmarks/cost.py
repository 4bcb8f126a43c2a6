"""Processor time of one call, the best of many repetitions, so that a busy machine disturbs it little."""

import time
from collections.abc import Callable


def cost_us(work: Callable[[], object], *, repeats: int, number: int) -> float:
    """Microseconds of a call: the least of `repeats` runs of `number` calls each."""
    best_s = float("inf")
    for _ in range(repeats):
        began_s = time.thread_time()
        for _ in range(number):
            work()
        best_s = min(best_s, time.thread_time() - began_s)
    return best_s / number * 1e6
