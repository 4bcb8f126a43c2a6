"""Which versions fit into a device's memory: what has to be there, and what may go. Pure.

    serving   answers now, and still has to: always kept, also over the limit
    new       has to be there too: kept where it fits beside those, else refused
    spare     would be good to have (a way back): kept while there is room, the last used first

So a new version displaces spares, never one that serves. `tests/workers/test_budget.py` has the
properties.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sized:
    """A version, and what it takes of one executor's share."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Names of versions, each of one kind."""

    kept: tuple[str, ...]
    evicted: tuple[str, ...] = ()  # spares without room
    refused: tuple[str, ...] = ()  # new ones that do not fit beside what serves


def plan(
    serving: Sequence[Sized], new: Sequence[Sized], spare: Sequence[Sized], limit_bytes: int | None
) -> Plan:
    """`spare`: the last used first. One is evicted with all that were used before it."""
    if limit_bytes is None:
        return Plan(tuple(one.name for one in (*serving, *new, *spare)))
    kept = list(serving)
    refused: list[Sized] = []
    for one in new:
        (kept if total(kept) + one.size_bytes <= limit_bytes else refused).append(one)
    evicted: list[Sized] = []
    for one in spare:
        fits = not evicted and total(kept) + one.size_bytes <= limit_bytes
        (kept if fits else evicted).append(one)
    return Plan(_names(kept), _names(evicted), _names(refused))


def total(found: Sequence[Sized]) -> int:
    return sum(one.size_bytes for one in found)


def _names(found: Sequence[Sized]) -> tuple[str, ...]:
    return tuple(one.name for one in found)
