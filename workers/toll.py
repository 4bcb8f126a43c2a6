"""Versions that ended executors, while they were loaded or computed as shadows: who is left out.

Twice may be chance, or two executors at once; then the version is not loaded any more, or shadows
nothing more on this node, and all others are served. A shadow that is ordered anew, after it was
not, gets another chance. Pure. `tests/workers/test_toll.py`.
"""

from collections import Counter
from collections.abc import Iterable

from chimera.schemas.placements import Shadows

LOADING_DEATHS = 2
SHADOW_DEATHS = 2


class Toll:
    """Of one pool. Versions are called `<model>/<version>`, as on the board."""

    def __init__(self) -> None:
        self._loading: Counter[str] = Counter()
        self._shadowing: Counter[str] = Counter()

    def count_loading(self, name: str) -> None:
        self._loading[name] += 1

    def load_again(self, names: Iterable[str]) -> None:
        """Whoever orders these wants them tried."""
        for name in names:
            self._loading.pop(name, None)

    def count_shadowing(self, names: Iterable[str]) -> frozenset[str]:
        """An executor ended with these at work; returns those that are dropped now for it."""
        before = self.dropped
        self._shadowing.update(names)
        return self.dropped - before

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
