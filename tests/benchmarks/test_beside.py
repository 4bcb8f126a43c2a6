"""Which requests belong to which window of the benchmark, and that each round is compared with itself."""

import numpy as np

from benchmarks.beside import ALONE, LIMITED, UNLIMITED, Window, figures, summary

SLOW = {ALONE: 1.0, LIMITED: 2.0, UNLIMITED: 8.0}


def test_requests_count_to_the_window_they_were_due_in_and_rounds_to_themselves() -> None:
    due_s = np.arange(0, 60, 0.1)
    latency_ms = np.full(len(due_s), 99.0)
    windows: list[Window] = []
    for number, way in enumerate((ALONE, LIMITED, UNLIMITED, LIMITED, UNLIMITED, ALONE)):
        at_s, slow = (
            10.0 * number,
            3.0 if number > 2 else 1.0,
        )  # the second round's machine is slower
        begins_s = at_s + (0 if way == ALONE else 4)
        windows.append(Window(way, at_s, begins_s, at_s + 8))
        latency_ms[(due_s >= begins_s) & (due_s < at_s + 8)] = slow * SLOW[way]
        latency_ms[(due_s >= at_s) & (due_s < begins_s)] = 5.0
    latency_ms[3] = np.nan  # an answer that never came
    raw = figures(windows, due_s, latency_ms)
    assert [one["latency"]["p99_ms"] for one in raw] == [1, 2, 8, 6, 24, 3]
    found = summary(raw)
    assert {way: of["ratios"]["p99_ms"] for way, of in found.items()} == SLOW
    assert [found[way]["starting"]["p99_ms"] for way in SLOW] == [None, 5, 5]
