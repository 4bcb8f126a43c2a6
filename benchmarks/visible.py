"""When results became visible: exact counts from offsets, without reading along.

A reader that follows the results would take a third of a core from whoever writes them, and more
from those whose records are larger. So during a trial only the last stable offsets are asked for,
every 20 ms; afterwards all results are read under `read_committed`, and the two together say when
each id was first visible. Pure functions; `tests/benchmarks/test_visible.py` holds them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

TRIM = 0.1  # the first tenth is start-up: joining, opening, loading, first batches

Numbers = npt.NDArray[np.int64]
Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rate:
    """What one trial gave."""

    visible: int  # distinct ids
    records: int  # results, so records - visible of them are repeats
    rps: float  # requests per second after the first tenth
    rps_from_first: float  # the same from the first visible result on
    begins: float  # monotonic seconds: where `rps` begins and ends
    ends: float
    counted: int  # requests between them


def first_seen(ids: Numbers, times: Seconds) -> Seconds:
    """The first time of each distinct id, ascending."""
    order = np.argsort(times, kind="stable")
    _, first = np.unique(ids[order], return_index=True)
    return np.sort(times[order][first])


def visible_at(samples: Seconds, ends: Numbers, offsets: Numbers) -> Seconds:
    """When each offset was first below the partition's stable end.

    Args:
        samples: times of the samples, shape [s]; ends: what each found, shape [s], ascending.
        offsets: shape [n]; one beyond the last end counts as seen with the last sample.
    """
    where = np.searchsorted(ends, offsets, side="right")
    return samples[np.minimum(where, len(samples) - 1)]


def rate(times: Seconds, records: int, trim: float = TRIM) -> Rate:
    """Requests per second: from when `trim` of them were visible until all were.

    Args:
        times: first visible time of each id, ascending; records: results, repeats included.
    """
    count = len(times)
    if count < 2 or times[-1] <= times[0]:
        moment = float(times[-1]) if count else 0.0
        return Rate(count, records, 0.0, 0.0, moment, moment, count)
    begins = times[max(0, int(np.ceil(count * trim)) - 1)]
    if begins >= times[-1]:  # all in one sample: nothing to divide by
        begins = times[0]
    counted = int(np.sum(times > begins))
    from_first = int(np.sum(times > times[0]))
    return Rate(
        visible=count,
        records=records,
        rps=float(counted / (times[-1] - begins)),
        rps_from_first=float(from_first / (times[-1] - times[0])),
        begins=float(begins),
        ends=float(times[-1]),
        counted=counted,
    )


def percentiles(latencies_ms: Seconds) -> dict[str, Any]:
    """p50, p95, p99, p99.9 and the largest, in milliseconds."""
    if not len(latencies_ms):
        return {}
    names = ("p50_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms")
    found = np.percentile(latencies_ms, (50, 95, 99, 99.9, 100))
    return {name: round(float(value), 2) for name, value in zip(names, found, strict=True)}
