"""What versions take of a device, and which of them are held: sizes as they were measured, and use.

A version's size is known once an executor has loaded it; before that, its files' sizes stand for it.
Of several measurements the largest counts, so that a decision is never turned by noise. Every
executor of a device has its own copy of each version, and so its own share of the device's budget.
`tests/workers/test_holdings.py`.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chimera.schemas.placements import Placement
from chimera.schemas.work import BatchStory, Loaded
from chimera.workers import budget
from chimera.workers.budget import Sized


@dataclass(frozen=True, slots=True)
class Choice:
    """What executors are to hold."""

    kept: tuple[Placement, ...]  # what has to be there first
    evicted: tuple[Placement, ...] = ()
    refused: tuple[Loaded, ...] = ()


class Holdings:
    """Of one node; `limit_bytes` is one executor's share, None: there is no limit."""

    def __init__(self, limit_bytes: int | None) -> None:
        self.limit_bytes = limit_bytes
        self._sizes: dict[str, int] = {}  # by the version's digest
        self._used_s: dict[tuple[str, str], float] = {}
        self._evicted: list[Placement] = []

    def learn(self, reports: Iterable[Loaded]) -> None:
        """What executors say that they have loaded."""
        for one in reports:
            if not one.refused:
                self._sizes[one.digest] = max(one.size_bytes, self._sizes.get(one.digest, 0))

    def note(self, stories: Iterable[BatchStory]) -> None:
        """Batches were computed with them."""
        now_s = time.monotonic()
        self._used_s.update({(one.model, one.version): now_s for one in stories})

    def use(self, placements: Iterable[Placement]) -> None:
        """They answer now, whether or not anybody asks."""
        now_s = time.monotonic()
        self._used_s.update({(one.model, one.version): now_s for one in placements})

    def fit(self, placements: Iterable[Placement]) -> bool:
        """Whether there is room for all of them."""
        limit = self.limit_bytes
        return limit is None or sum(map(self.size_bytes, placements)) <= limit

    def size_bytes(self, placement: Placement) -> int:
        known = self._sizes.get(placement.digest)
        if known is not None:
            return known
        return sum(file.size_bytes for one in placement.variants for file in one.files.values())

    def choose(
        self,
        serving: Sequence[Placement],
        new: Sequence[Placement],
        spare: Sequence[Placement],
    ) -> Choice:
        """See `budget`; of spares that were never used the first counts as used last."""
        ranked = sorted(spare, key=self._used, reverse=True)
        by_name = {one.name: one for one in (*serving, *new, *spare)}
        sized = [[Sized(one.name, self.size_bytes(one)) for one in part]
                 for part in (serving, new, ranked)]  # fmt: skip
        made = budget.plan(sized[0], sized[1], sized[2], self.limit_bytes)
        beside = budget.total(sized[0])
        return Choice(
            tuple(by_name[name] for name in made.kept),
            tuple(by_name[name] for name in made.evicted),
            tuple(self._refusal(by_name[name], beside) for name in made.refused),
        )

    def evict(self, placements: Iterable[Placement]) -> None:
        """They are held no more, for want of room."""
        self._evicted += placements

    def take_evicted(self) -> list[Placement]:
        """Those since the last time."""
        evicted, self._evicted = self._evicted, []
        return evicted

    def _used(self, placement: Placement) -> float:
        return self._used_s.get((placement.model, placement.version), 0.0)

    def _refusal(self, one: Placement, beside_bytes: int) -> Loaded:
        reason = (
            f"it takes {self.size_bytes(one)} bytes of an executor, what serves {beside_bytes};"
            f" the budget is {self.limit_bytes} (CHIMERA_SERVING__MODEL_MEMORY_BYTES)"
        )
        return Loaded(one.model, one.version, one.digest, "", 0, reason)
