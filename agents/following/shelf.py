"""A state's versions, laid out on this machine: brought once, then known.

Bringing blocks, and takes a processor, so it is done in a thread that gives way. What was laid out,
its signature checked, is known again by its digest and its tiers, so that nobody waits for a disk to
go back to it. A shadow that cannot be had is left out. `tests/agents/test_following.py`; with real
files `tests/stores/test_layout.py`.
"""

import asyncio
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING

import structlog

from chimera.agents.following.roster import Served, Wanted, versions
from chimera.schemas.errors import ModelRefused
from chimera.schemas.model_state import ModelState, ShadowVersion, Tiers
from chimera.schemas.placements import Placement
from chimera.workers.aside import aside

if TYPE_CHECKING:
    from chimera.stores.layout import Layout

log = structlog.get_logger(__name__)


class Shelf:
    """Of one node."""

    def __init__(self, layout: "Layout") -> None:
        self._layout = layout
        self._known: dict[tuple[str, str], tuple[Tiers, Placement]] = {}

    async def lay_out(self, state: ModelState) -> Served:
        """Bring what it needs.

        Raises:
            ModelRefused: nobody trusted vouches for it, or a tier that is none.
            ArtifactMissing, ArtifactDamaged, ArtifactsUnavailable. OSError: the disk failed.
        """
        return Served(state, await asyncio.to_thread(aside, partial(self._place, state)))

    def known(self, state: ModelState, among: Collection[Placement]) -> Served:
        """The same without bringing anything: its versions that are known, and are `among` these."""
        found = [self._find(state.model, version) for version in versions(state)]
        return Served(state, tuple(one for one in found if one is not None and one in among))

    def _find(self, model: str, version: Wanted) -> Placement | None:
        tiers, placement = self._known.get((model, version.version), ((), None))
        if placement is None or (tiers, placement.digest) != (version.tiers, version.sha256):
            return None
        return placement

    def _place(self, state: ModelState) -> tuple[Placement, ...]:
        found: list[Placement] = []
        for version in versions(state):
            try:
                placement = self._layout.place(state.model, version)
            except ModelRefused as error:
                if not isinstance(version, ShadowVersion):
                    raise
                named = version.version
                log.error("shadow_left_out", model=state.model, version=named, reason=str(error))
            else:
                self._known[state.model, version.version] = version.tiers, placement
                found.append(placement)
        return tuple(found)
