"""What executors load for a node now, and whether anybody still wants it. Pure, but for its flag.

A load is superseded when the newest state of a model has no use for a version that is being loaded
for it: not to answer, not as a shadow, not as a way back. `tests/agents/test_following.py`.
"""

import asyncio
from collections.abc import Collection, Mapping

from chimera.agents.following.roster import versions
from chimera.schemas.model_state import ModelState
from chimera.schemas.placements import Placement


class Loading:
    """One load; `superseded` is set once it is, also by executors that give up for reasons of theirs."""

    def __init__(self, new: Collection[Placement] = ()) -> None:
        """`new`: what executors do not have yet."""
        self.superseded = asyncio.Event()
        self._new = new

    def weigh(self, wanted: Mapping[str, ModelState]) -> None:
        """States have changed."""
        if not all(_is_wanted(one, wanted.get(one.model)) for one in self._new):
            self.superseded.set()


def _is_wanted(placement: Placement, state: ModelState | None) -> bool:
    named = () if state is None else versions(state)
    return any((one.version, one.sha256) == (placement.version, placement.digest) for one in named)
