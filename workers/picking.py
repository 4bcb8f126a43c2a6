"""Which version computes each request of a work, where a model's traffic is split.

A model that one version answers for costs one look-up a request, a block nothing. Where there are more,
all of a work's requests are drawn at the first need, by their identities: coordinates, or those of
the first record where one came by a retry topic. `tests/workers/test_picking.py`.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from chimera.schemas.work import Work
from chimera.workers.repertoire import Repertoire
from chimera.workers.results import coordinates
from chimera.workers.splits import Split, source
from chimera.workers.tasks import NO_EXTRA

Places = NDArray[np.intp]


class Picks:
    """Of one work."""

    def __init__(self, repertoire: Repertoire, work: Work) -> None:
        self._repertoire = repertoire
        self._work = work
        self._drawn: dict[str, list[str]] = {}

    def version(self, model: str, wanted: str | None, index: int) -> str | None:
        """The version that a request wants or was drawn for it; None: whichever answers."""
        if wanted is not None:
            return wanted
        split = self._repertoire.split(model)
        if split is None:
            return None
        if "origin" in self._work.extras.get(index, NO_EXTRA):
            return self._pick_by_origin(split, index)
        drawn = self._drawn.get(model)
        if drawn is None:
            drawn = self._drawn[model] = [split.versions[at] for at in _draw(split, self._work)]
        return drawn[index]

    def parts(self, model: str, wanted: str | None) -> Iterator[tuple[str | None, Places | None]]:
        """Versions of a work whose requests are all alike and plain, and the places of each.

        No places: all of them.
        """
        split = None if wanted is not None else self._repertoire.split(model)
        if split is None:
            yield wanted, None
            return
        drawn = _draw(split, self._work)
        for number, version in enumerate(split.versions):
            (places,) = np.nonzero(drawn == number)
            if len(places):
                yield version, places

    def _pick_by_origin(self, split: Split, index: int) -> str:
        work = self._work
        where, offset = coordinates(
            work.topic, work.partition, work.offsets[index], work.extras[index]
        )
        return split.pick(where.topic, where.partition, offset)


def _draw(split: Split, work: Work) -> Places:
    offsets = np.array(work.offsets, np.uint64)
    return split.pick_many(source(work.topic, work.partition), offsets)
