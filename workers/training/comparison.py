"""Two runs beside one another: what their orders differ in, and how their metrics went.

Fields are named as in the configuration's file, `optimizer.arguments.lr`; where data lie counts as
well, though no hash has it. Curves are read from `metrics.jsonl`, so a run need not be finished.
`tests/workers/training/test_comparison.py`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, cast

from chimera.schemas.errors import TrainingRefused
from chimera.workers.training.folder import CONFIG, METRICS

LOSS = "loss"
ABSENT = None

Fields = Mapping[str, Any]
Points = list[tuple[int, float]]  # update, value


class Difference(NamedTuple):
    """A field that differs; a side that has none of that name has `ABSENT`."""

    field: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True)
class Run:
    """What lies in a run's folder."""

    run_id: str
    config: Mapping[str, Any]
    curves: Mapping[str, Points]  # `loss` of each update; of each epoch everything else


def read(runs: Path, run_id: str) -> Run:
    """Raises TrainingRefused: there is no such run."""
    folder = runs / run_id
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError):
        raise TrainingRefused(f"{runs}: there is no run {run_id}") from None
    path = folder / METRICS
    return Run(run_id, config, curves(path.read_bytes().splitlines() if path.exists() else ()))


def differences(first: Any, second: Any, field: str = "") -> Iterator[Difference]:
    """Every field in which two configurations differ, in the order of the first."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        one, other = cast(Fields, first), cast(Fields, second)
        for name in dict.fromkeys((*one, *other)):
            inside = f"{field}.{name}" if field else name
            yield from differences(one.get(name, ABSENT), other.get(name, ABSENT), inside)
    elif first != second:
        yield Difference(field, first, second)


def curves(lines: Iterable[bytes]) -> dict[str, Points]:
    """By metric; a line that a crash has cut is left out."""
    found: dict[str, Points] = {}
    for line in lines:
        try:
            one = json.loads(line)
        except ValueError:
            continue
        for name, value in _values(one).items():
            found.setdefault(name, []).append((int(one["update"]), float(value)))
    return found


def thinned(points: Points, count: int) -> list[float]:
    """Means of `count` neighbouring groups, or the values themselves where there are fewer."""
    if len(points) <= count:
        return [value for _, value in points]
    edges = [at * len(points) // count for at in range(count + 1)]
    groups = [points[start:stop] for start, stop in pairwise(edges)]
    return [sum(value for _, value in group) / len(group) for group in groups]


def _values(line: Mapping[str, Any]) -> Mapping[str, float]:
    if line.get("kind") == "step" and LOSS in line:
        return {LOSS: line[LOSS]}
    if line.get("kind") == "epoch":
        metrics: Mapping[str, float | None] = line["metrics"]
        return {name: one for name, one in metrics.items() if one is not None and isfinite(one)}
    return {}
