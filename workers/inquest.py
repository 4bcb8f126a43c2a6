"""After an executor's death: why it died, who is accused of it, and who is not asked first any more.

    handle, status ── reason ── tier's fault? ── legacy: again, unread, accused
                          └── loading, shadowing: counted against versions (`toll.py`)

What is pure of it is `deaths.py`'s; who gets what is left is the pool's to say.
`tests/workers/test_executor_deaths.py` kills real ones, `test_suspects.py` names who was at work.
"""

from typing import NamedTuple

import structlog

from chimera.schemas.placements import Shadows
from chimera.workers import deaths
from chimera.workers.handle import Handle
from chimera.workers.lookout import Lookout
from chimera.workers.toll import Toll, names

log = structlog.get_logger(__name__)


class Finding(NamedTuple):
    """Of one death."""

    reason: str
    legacy: deaths.Legacy
    was_busy: bool  # it was computing, for requests or for a shadow
    drops_shadows: bool  # versions that shadowed do not any more


class Inquest:
    """Of one pool."""

    def __init__(self, toll: Toll, lookout: Lookout) -> None:
        self._toll = toll
        self._lookout = lookout

    def hold(self, handle: Handle, status: int, shadows: Shadows) -> Finding:
        """`shadows`: those that are ordered. The handle is still open, its process gone."""
        reason = deaths.reason(handle.kill_reason, status, oom_kills=self._lookout.oom_kills)
        suspects = {} if reason == deaths.RETIRED else handle.suspects()
        was_busy = bool(handle.shadowing() or suspects)
        abandoned = handle.abandoned()
        if self._is_tiers_fault(handle, reason) and not deaths.were_alone(abandoned, suspects):
            suspects = {}  # another tier tries them before any is accused
        left = deaths.legacy(abandoned, suspects)
        drops = self._hold_against_versions(handle, status, reason, left, shadows)
        return Finding(reason, left, was_busy, drops)

    def _is_tiers_fault(self, handle: Handle, reason: str) -> bool:
        version, tier = handle.computing()
        if not tier or reason not in (deaths.HUNG, deaths.CRASHED):
            return False
        is_fault = self._toll.is_tiers_fault(version, tier, handle.tiers(version))
        log.warning("tier_ended_executor", version=version, tier=tier, is_tiers_fault=is_fault)
        return is_fault

    def _hold_against_versions(
        self, handle: Handle, status: int, reason: str, left: deaths.Legacy, shadows: Shadows
    ) -> bool:
        """Count it, and say it; whether shadows are dropped for it."""
        slot = handle.configuration.slot
        if reason == deaths.RETIRED:
            log.info("executor_retired", slot=slot, again=len(left.again) + len(left.unread))
            return False
        loading, shadowing = handle.loading(), handle.shadowing()
        log.error(
            "executor_died", slot=slot, status=status, reason=reason, loading=loading,
            shadowing=shadowing, suspects=sum(map(len, left.accused.values())),
        )  # fmt: skip
        if loading:
            self._toll.count_loading(loading)
        # where memory ran out all of them: they can be spared first
        blamed = names(shadows) if reason == deaths.OUT_OF_MEMORY else {shadowing} - {""}
        dropped = self._toll.count_shadowing(blamed)
        if dropped:
            log.error("shadows_dropped", shadows=sorted(dropped), reason=reason)
        return bool(dropped)
