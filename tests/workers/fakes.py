"""A served model in the test's own process, for what needs no executor."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chimera.schemas.inference import Request, decode
from chimera.schemas.tensors import Array
from chimera.schemas.work import Work
from chimera.workers.batching import Policy
from chimera.workers.dispatching.tiering import Tier, Tiers
from chimera.workers.repertoire import Repertoire, Served, policy_of
from chimera.workers.results import Tails
from chimera.workers.routes import Route, Routes
from chimera.workers.tasks import Held, Task
from tests.workers.rig import manifest


class Plus:
    """y = the second column, plus one; `before` sees each batch and may raise."""

    def __init__(
        self, before: Callable[[Array], None] = lambda _: None, tier: str = "test"
    ) -> None:
        self._before = before
        self.tier = tier

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        (rows,) = inputs
        self._before(rows)
        return [np.ascontiguousarray(rows[:, 1:] + 1)]


def served(before: Callable[[Array], None] = lambda _: None, **fields: Any) -> Served:
    of = manifest("hostile", **fields)
    tails = Tails(of.name, of.sha256, "test")
    tiers = Tiers([Tier(Plus(before), tails)])
    return Served(of, of.sha256, tiers, policy_of(of, Policy(256)), of.batches)


def route(one: Served, request: Request) -> Route:
    found = Routes(Repertoire([one])).find(request)
    assert isinstance(found, Route)
    return found


def task(one: Served, given: Work, serial: int = 1) -> Task:
    """All requests of a work, which go one way."""
    requests = [decode(value) for value in given.values]
    return Task(
        Held(serial, given),
        route(one, requests[0]),
        list(range(len(requests))),
        list(given.offsets),
        requests,
    )
