"""What a pool's executors hold, and who answers: changed by successors, one slot after the other.

    hold ── what fits (`holdings`) ── a successor loads it ── it takes what it said? ── all slots
                ▴──────────────────────── no: less of it ─────────────┘

A slot goes on as it is until its successor can compute, so for that time both hold what they hold:
the budget is of what one executor loads. What is refused changes nothing; what answers and is not
there is known to every executor, so that its requests wait. Where the version that answers has to go
to make room, each successor answers with the next traffic from its start; else traffic turns later,
by a word. A word that comes meanwhile is not undone: a load that would end what answers by then is
given up, as is one that whoever asked for it calls superseded; after that slots turn, all of them.
`tests/workers/test_placing.py`.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from msgspec import structs

from chimera.schemas.placements import Orders, Placement, Shadows, Traffic
from chimera.schemas.work import Loaded
from chimera.workers import deaths
from chimera.workers.configuration import Configuration
from chimera.workers.handle import Handle
from chimera.workers.holdings import Holdings
from chimera.workers.lookout import START_WITHIN_S
from chimera.workers.slots import Slot
from chimera.workers.toll import Toll

log = structlog.get_logger(__name__)

LeftOut = Mapping[str, str]
"""Of what is ordered, by `<model>/<version>`: what is not loaded, and why; its requests wait."""

Configure = Callable[[Slot, Orders | None, LeftOut], Configuration]


class Placing:
    """Of one pool; `orders` are what its next executor is told. None: the folder of models."""

    def __init__(
        self, holdings: Holdings, toll: Toll, configure: Configure, dispatch: Callable[[], None]
    ) -> None:
        self.orders: Orders | None = None
        self.slots: list[Slot] = []
        self.turns = 0  # how often who answers has changed
        self._words = 0  # how often it was said who answers
        self._left_out: LeftOut = {}
        self._holdings = holdings
        self._toll = toll
        self._configure = configure
        self._dispatch = dispatch
        self._lock = asyncio.Lock()

    def configuration(self, slot: Slot) -> Configuration:
        """What the next executor of a slot is told."""
        return self._configure(slot, self.orders, self._left_out)

    @property
    def refused(self) -> list[Loaded]:
        """What those that can compute now did not load, with the reasons."""
        ready = [one.current for one in self.slots if one.current and one.current.is_ready]
        reports = [handle.started.result() for handle in ready]
        return [one for report in reports for one in report.models if one.refused]

    @property
    def held(self) -> list[Placement]:
        """What all that can compute now have."""
        found = list((self.orders or Orders()).placements)
        ready = [one.current for one in self.slots if one.current and one.current.is_ready]
        for handle in ready:
            models = handle.started.result().models
            loaded = {(one.model, one.version, one.digest) for one in models if not one.refused}
            found = [one for one in found if (one.model, one.version, one.digest) in loaded]
        return found

    def begin(self, orders: Orders) -> None:
        """As if all fitted: what versions take is known once they were loaded."""
        everything = (*orders.placements, *orders.spare)
        self.orders = structs.replace(orders, placements=everything, spare=())

    async def settle(self, orders: Orders) -> None:
        """After the first start with these orders: a way back without room goes, all else is waited for."""
        async with self._lock:
            choice = self._holdings.choose((), orders.placements, orders.spare)
            if choice.evicted or choice.refused:
                reasons = _reasons(choice.refused)
                lacking = [one for one in orders.placements if one.name in reasons]
                told = _Told((*choice.kept, *lacking), reasons)
                await self._turn(told, await self._prepare(told), choice.evicted, None)

    async def hold(
        self,
        needed: Sequence[Placement],
        spare: Sequence[Placement],
        traffic: Traffic | None,
        superseded: asyncio.Event,
    ) -> tuple[Loaded, ...]:
        """See `Pool.hold`."""
        async with self._lock:
            before, reasons = self.orders or Orders(), _reasons(self.refused)
            held = [one for one in before.placements if one.name not in reasons]
            new = [one for one in needed if one not in held]
            if not new:
                return ()
            names = {one.name for one in needed}
            others = [one for one in before.placements if one.name not in names]
            answering = [one for one in others if _answers(one, before.traffic)]
            lacking = [one for one in answering if one.name in reasons]
            names |= {one.name for one in lacking}
            self._holdings.use(answering)
            wanted = _Wanted(
                [one for one in needed if one in held],
                new,
                [one for one in spare if one.name not in names],
                _Told(tuple(lacking), {one.name: reasons[one.name] for one in lacking}),
            )
            return await self._load(wanted, traffic, superseded)

    async def _load(
        self, wanted: "_Wanted", traffic: Traffic | None, superseded: asyncio.Event
    ) -> tuple[Loaded, ...]:
        """Again with less of it, where it takes more than was known."""
        words = self._words
        while not superseded.is_set():
            choice = self._holdings.choose(wanted.serving, wanted.new, wanted.spare)
            if choice.refused:
                return choice.refused
            self._toll.load_again(one.name for one in wanted.new)
            lacking = wanted.lacking
            told = _Told((*choice.kept, *lacking.placements), lacking.left_out)
            successor = await self._prepare(told, superseded)
            if self._words != words and self._would_lose_what_answers(told):
                superseded.set()
            refused = () if superseded.is_set() else _refused(successor, wanted.new)
            if not (refused or superseded.is_set()) and self._holdings.fit(choice.kept):
                await self._turn(told, successor, choice.evicted, traffic)
                return ()
            if successor is not None:
                successor.kill(deaths.RETIRED)
            if refused:
                return refused
        return ()

    def _would_lose_what_answers(self, told: "_Told") -> bool:
        orders = self.orders or Orders()
        lost = [one for one in orders.placements if one not in told.placements]
        return any(_answers(one, orders.traffic) for one in lost)

    async def _prepare(
        self, told: "_Told", superseded: asyncio.Event | None = None
    ) -> Handle | None:
        """The first slot's successor."""
        orders = structs.replace(self.orders or Orders(), placements=told.placements)
        first = self.slots[0]
        configuration = self._configure(first, orders, told.left_out)
        successor = await first.prepare(configuration, START_WITHIN_S, superseded)
        if successor is not None:
            self._holdings.learn(successor.started.result().models)
        return successor

    async def _turn(
        self,
        told: "_Told",
        successor: Handle | None,
        evicted: Sequence[Placement],
        traffic: Traffic | None,
    ) -> None:
        """Let all slots hold it; `successor` is the first slot's."""
        before = self.orders or Orders()
        lost = [one for one in before.placements if one in evicted]
        for one in lost:
            log.info("version_evicted", model=one.model, version=one.version)
        self._holdings.evict(lost)
        self.orders = structs.replace(before, placements=told.placements)
        self._left_out = told.left_out
        if traffic is not None and any(_answers(one, before.traffic) for one in lost):
            self.direct(traffic)
        first, *others = self.slots
        self._adopt(first, successor)
        for slot in others:
            self._adopt(slot, await slot.prepare(self.configuration(slot), START_WITHIN_S))

    def _adopt(self, slot: Slot, successor: Handle | None) -> None:
        if successor is None:  # it died of something else: the slot tries until it can
            slot.vacate()
            return
        if self.orders is not None:  # it may have changed while it started
            successor.direct(self.orders.traffic)
            successor.mirror(self._toll.spare(self.orders.shadows))
        slot.adopt(successor)
        self._dispatch()

    # What the next executors are told; those that live have to be told too.

    def direct(self, traffic: Traffic) -> None:
        before = self.orders or Orders()
        self._words += 1
        self.turns += before.traffic != traffic
        self.orders = structs.replace(before, traffic=traffic)

    def mirror(self, shadows: Shadows) -> None:
        self.orders = structs.replace(self.orders or Orders(), shadows=shadows)

    def pause(self, models: Iterable[str]) -> None:
        self.orders = structs.replace(self.orders or Orders(), paused=tuple(models))


@dataclass(frozen=True, slots=True)
class _Told:
    """What an executor is told to hold."""

    placements: tuple[Placement, ...]
    left_out: LeftOut  # of these


@dataclass(frozen=True, slots=True)
class _Wanted:
    """`serving` and `new` are needed; `lacking` answers, and cannot be had by now."""

    serving: Sequence[Placement]
    new: Sequence[Placement]
    spare: Sequence[Placement]
    lacking: _Told


def _answers(placement: Placement, traffic: Traffic) -> bool:
    return placement.version in traffic.get(placement.model, {})


def _reasons(refused: Iterable[Loaded]) -> dict[str, str]:
    return {f"{one.model}/{one.version}": one.refused for one in refused}


def _refused(successor: Handle | None, new: Collection[Placement]) -> tuple[Loaded, ...]:
    """What a successor did not load of what is new."""
    if successor is None:
        told = "an executor that was to load it ended"
        return tuple(Loaded(one.model, one.version, one.digest, "", 0, told) for one in new)
    names = {(one.model, one.version) for one in new}
    models = successor.started.result().models
    return tuple(one for one in models if one.refused and (one.model, one.version) in names)
