"""Versions that ended executors, while they were loaded, or computed: who is left out, or not asked first.

    loading, shadowing   twice may be chance, or two executors at once; then the version is not loaded
                         any more, or shadows nothing more on this node, and all others are served. A
                         shadow that is ordered anew, after it was not, gets another chance
    computing            once is enough for a tier to be tried last, as long as another is left; where
                         each of a version's tiers ended an executor, it is the requests' fault

Pure. `tests/workers/test_toll.py`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from chimera.schemas.placements import Shadows

LOADING_DEATHS = 2
SHADOW_DEATHS = 2


class Toll:
    """Of one pool. Versions are called `<model>/<version>`, as on the board."""

    def __init__(self) -> None:
        self._loading: Counter[str] = Counter()
        self._shadowing: Counter[str] = Counter()
        self._computing: dict[str, Counter[str]] = {}

    def count_loading(self, name: str) -> None:
        self._loading[name] += 1

    def load_again(self, names: Iterable[str]) -> None:
        """Whoever orders these wants them tried."""
        for name in names:
            self._loading.pop(name, None)
            self._computing.pop(name, None)

    def count_shadowing(self, names: Iterable[str]) -> frozenset[str]:
        """An executor ended with these at work; returns those that are dropped now for it."""
        before = self.dropped
        self._shadowing.update(names)
        return self.dropped - before

    def is_tiers_fault(self, name: str, tier: str, loaded: Collection[str]) -> bool:
        """An executor ended while it computed with this tier: whether one of the others is left."""
        ended = self._computing.setdefault(name, Counter())
        ended[tier] += 1
        if set(loaded) <= ended.keys():
            del self._computing[name]
            return False
        return True

    def acquit(self, name: str, tier: str) -> None:
        """It has computed since."""
        if name in self._computing:
            self._computing[name].pop(tier, None)

    @property
    def tiers(self) -> Mapping[str, Mapping[str, int]]:
        """By version, tiers that are not to be asked first, and how many executors each ended."""
        return self._computing

    @property
    def refused(self) -> dict[str, str]:
        """Not to be loaded any more, and why."""
        deadly = [name for name, count in self._loading.items() if count >= LOADING_DEATHS]
        return {name: f"{name}: loading it ended an executor" for name in deadly}

    @property
    def dropped(self) -> frozenset[str]:
        """Shadows that compute nothing any more."""
        return frozenset(n for n, count in self._shadowing.items() if count >= SHADOW_DEATHS)

    def forgive(self, shadows: Shadows) -> None:
        """Those that are ordered no longer."""
        ordered = names(shadows)
        self._shadowing = Counter({n: c for n, c in self._shadowing.items() if n in ordered})

    def spare(self, shadows: Shadows) -> Shadows:
        """The others."""
        dropped = self.dropped
        return {
            model: one for model, one in shadows.items() if f"{model}/{one.version}" not in dropped
        }


def names(shadows: Shadows) -> frozenset[str]:
    return frozenset(f"{model}/{one.version}" for model, one in shadows.items())
