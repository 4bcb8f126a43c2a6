"""All executors of a node: what they hold, and what happens when one dies.

    submit ── queues, one a lane ── the least loaded executor ── outcomes ── take_outcomes
                 ▲                            └ dies ── suspects ── take_suspects
                 └───────── all others ───────────┘

Who gets which work is `distribution.py`'s to say, who is accused of a death `inquest.py`'s. An executor that
dies is replaced at once, or after a pause if it dies again and again before it has computed anything
(`slots.py`). What executors hold is changed by successors (`placing.py`); who answers, by a word to each.
`tests/workers/test_pool.py`, `test_blocks.py` and `test_placing.py` run it with real processes,
`test_executor_deaths.py` kills them.
"""

import asyncio
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol, cast

import structlog
from msgspec import structs

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.placements import Orders, Placement, Shadow, Shadows, Traffic
from chimera.schemas.settings import Settings
from chimera.schemas.work import Block, Deferred, Loaded, Outcomes, Results, Started, Work
from chimera.workers import deaths, kinds
from chimera.workers.births import Births
from chimera.workers.configuration import Configuration, configuration
from chimera.workers.devices import devices
from chimera.workers.distribution import Distribution
from chimera.workers.frames import MAX_BODY_BYTES
from chimera.workers.handle import Handle
from chimera.workers.holdings import Holdings
from chimera.workers.inquest import Inquest
from chimera.workers.lookout import Lookout
from chimera.workers.placing import LeftOut, Placing
from chimera.workers.reports import Report
from chimera.workers.slots import Slot
from chimera.workers.splits import Split
from chimera.workers.toll import Toll

log = structlog.get_logger(__name__)


class Answers(Protocol):
    """Who submits, and hears the answers."""

    def take_outcomes(self, outcomes: Outcomes) -> None: ...
    def take_results(self, results: Results) -> None: ...

    def take_unread(self, block: Block, accused: Collection[int]) -> None:
        """No executor has it now: the submitter reads it, and submits all but the accused."""
        ...

    def take_deferred(self, deferred: Deferred) -> None:
        """No executor has these now, or may compute them: the submitter waits, and submits again."""
        ...

    def take_suspects(self, lane: int, offsets: list[int], reason: str) -> None:
        """They were being computed when an executor died: crashed, hung or out_of_memory."""
        ...

    def take_death(self, reason: str) -> None:
        """An executor died, whatever it was doing."""
        ...

    def take_report(self, report: Report) -> None:
        """What versions did in an executor, in about a second, and what became of its breakers."""
        ...


class Pool:
    """Parent side."""

    def __init__(
        self,
        settings: Settings,
        answers: Answers,
        *,
        entry: Sequence[str] | None = None,
        births: Births | None = None,
    ) -> None:
        """`entry` is what tests have instead of the executors' own command lines.

        `births` may have some of them already.

        Raises:
            ConfigurationError: a limit is larger than what executors take.
        """
        serving = settings.serving
        if max(serving.max_request_bytes, serving.max_result_bytes) > MAX_BODY_BYTES // 2:
            raise ConfigurationError(
                "CHIMERA_SERVING__MAX_REQUEST_BYTES and CHIMERA_SERVING__MAX_RESULT_BYTES:"
                f" at most {MAX_BODY_BYTES // 2}"
            )
        self._settings = settings
        self._answers = answers
        self._entry = entry
        self._births = births or Births()
        self._slots: list[Slot] = []
        self._works = Distribution(self._handles, self._ready, settings.batching.max_batch_size)
        self._toll = Toll()
        budget = serving.model_memory_bytes
        self.holdings = Holdings(None if budget is None else budget // serving.executors)
        self._placing = Placing(self.holdings, self._toll, self._configuration, self._works.go_on)
        self._stopping = False
        self._main: asyncio.Task[None] | None = None
        self._first: asyncio.Event = asyncio.Event()
        self._lookout = Lookout(self._handles, settings.serving.run_timeout_ms / 1000)
        self._inquest = Inquest(self._toll, self._lookout)

    # Life.

    async def start(self, orders: Orders | None = None) -> None:
        """Returns when one executor can compute (the others follow), or after `stop`.

        Without orders they hold the folder of models, and the highest versions answer.

        Raises:
            ConfigurationError: a device is named that is none, or cannot be used.
        """
        if orders is not None:
            self._placing.begin(orders)
        found = await devices(self._settings.serving.devices)
        self._slots = [
            self._slot(device, number)
            for device in found
            for number in range(self._settings.serving.executors)
        ]
        self._placing.slots = self._slots
        self._main = asyncio.create_task(self._run(), name="pool")
        ready = asyncio.create_task(self._first.wait(), name="pool-ready")
        await asyncio.wait((self._main, ready), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        self._births.end()
        if self._main.done() and not self._main.cancelled() and (failure := self._main.exception()):
            raise _first(failure) from None
        if orders is not None and self._first.is_set():
            await self._placing.settle(orders)

    async def stop(self) -> None:
        """End all executors at once; what they had is lost, and nothing is left behind."""
        self._stopping = True
        self._works.clear()
        for handle in self._handles():
            handle.kill("stopped")
        if self._main is not None:
            self._main.cancel()
            await asyncio.gather(self._main, return_exceptions=True)

    def _handles(self) -> Iterator[Handle]:
        """Of all executors that live, also those that get no works."""
        return (handle for slot in self._slots for handle in list(slot.handles))

    def _ready(self) -> Iterator[Handle]:
        """Of those that get works now."""
        found = (slot.current for slot in self._slots)
        return (handle for handle in found if handle is not None and handle.is_ready)

    @property
    def available(self) -> bool:
        """Whether any executor can compute now."""
        return any(self._ready())

    def got_on_s(self, lane: int) -> float:
        """When whoever has a lane's requests last began or ended anything (monotonic; 0: nobody)."""
        return self._works.got_on_s(lane)

    @property
    def paused(self) -> Collection[str]:
        """Models whose requests wait."""
        orders = self._placing.orders
        return orders.paused if orders is not None else ()

    @property
    def turns(self) -> int:
        """How often who answers has changed."""
        return self._placing.turns

    @property
    def executors(self) -> list[Started]:
        """Reports of those that can compute now."""
        return [handle.started.result() for handle in self._ready()]

    @property
    def refused(self) -> list[Loaded]:
        """What those that can compute now did not load, with the reasons."""
        return self._placing.refused

    # What executors hold, and who answers.

    @property
    def held(self) -> Collection[Placement]:
        """What all that can compute now have."""
        return self._placing.held

    async def hold(
        self,
        needed: Sequence[Placement],
        spare: Sequence[Placement] = (),
        traffic: Traffic | None = None,
        superseded: asyncio.Event | None = None,
    ) -> tuple[Loaded, ...]:
        """Let executors hold these versions; each slot goes on as it is until a successor can.

        `spare` are held as far as there is room, the last used first; that one is missing is no
        reason to start executors anew. Returns what was refused; then nothing has changed. Who
        answers is changed only where who answers now has to go to make room: to `traffic`, slot by
        slot. What executors refused when they started is tried again. Once `superseded` is set it
        is given up, if that is still possible; it is set here where what was said of who answers
        meanwhile makes it so. Then nothing is known.
        """
        return await self._placing.hold(needed, spare, traffic, superseded or asyncio.Event())

    def switch(self, model: str, weights: Mapping[str, float], shadow: Shadow | None) -> None:
        """As `direct` and `mirror`, of one model; no weights: nothing answers for it."""
        orders = self._placing.orders or Orders()
        traffic = {name: one for name, one in orders.traffic.items() if name != model}
        self.direct({**traffic, model: dict(weights)} if weights else traffic)
        shadows = {name: one for name, one in orders.shadows.items() if name != model}
        self.mirror({**shadows, model: shadow} if shadow is not None else shadows)

    def direct(self, traffic: Traffic) -> None:
        """From their next batches on, these versions answer.

        Raises:
            ConfigurationError: weights that are none; nothing has changed.
        """
        for weights in traffic.values():
            Split(weights)
        self._placing.direct(traffic)
        for handle in self._handles():
            handle.direct(traffic)

    def mirror(self, shadows: Shadows) -> None:
        """From their next batches on, these versions compute what others answer, to be compared."""
        self._placing.mirror(shadows)
        self._toll.forgive(shadows)
        for handle in self._handles():
            handle.mirror(self._toll.spare(shadows))

    @property
    def dropped_shadows(self) -> frozenset[str]:
        """Model and version of those that ended executors, and compute nothing any more."""
        return self._toll.dropped

    def pause(self, models: Collection[str]) -> None:
        """From their next batches on, requests of these models come back, and of no other."""
        self._placing.pause(models)
        for handle in self._handles():
            handle.pause(models)

    # Work.

    def submit(self, work: Work) -> None:
        """Never waits. What a lane submits is bounded by its window."""
        if work.offsets:
            self._works.submit(work)

    def submit_block(self, block: Block) -> None:
        """As `submit`, for records that nobody has read yet."""
        self._works.submit(block)

    def withdraw(self, lane: int, offsets: Collection[int]) -> None:
        """These of a lane are decided: nobody computes them any more, wherever they are."""
        self._works.withdraw(lane, offsets)

    def forget(self, lane: int) -> None:
        """Drop all that a lane has submitted; no answer to it will come."""
        self._works.forget(lane)

    # What executors say.

    def take_outcomes(self, outcomes: Outcomes) -> None:
        self.holdings.note((outcomes.batch,))
        self._answers.take_outcomes(outcomes)
        self._works.go_on()

    def take_results(self, results: Results) -> None:
        self.holdings.note(results.stories)
        self._answers.take_results(results)
        self._works.go_on()

    def take_unread(self, block: Block) -> None:
        self._answers.take_unread(block, ())
        self._works.go_on()

    def take_deferred(self, deferred: Deferred) -> None:
        self._answers.take_deferred(deferred)
        self._works.go_on()

    def take_report(self, report: Report) -> None:
        for one in report.transitions:
            if one.after == "closed":
                self._toll.acquit(f"{one.model}/{one.version}", one.tier)
        self._answers.take_report(report)

    # Executors.

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for slot in self._slots:
                    group.create_task(slot.keep())
                group.create_task(self._lookout.keep())
        finally:
            for handle in list(self._handles()):
                handle.kill("stopped")
                await handle.wait()
                handle.close()

    def _slot(self, device: str, number: int) -> Slot:
        name, configure = f"{device}:{number}", self._placing.configuration
        return Slot(name, device, self, self._births, self._command, configure)

    def _command(self, configuration: Configuration) -> Sequence[str]:
        has_fallback = self._settings.serving.torch_fallback
        orders, device, threads = configuration.orders, configuration.device, configuration.threads
        return self._entry or kinds.entry(orders, device, threads, has_fallback=has_fallback)

    def _configuration(self, slot: Slot, orders: Orders | None, left_out: LeftOut) -> Configuration:
        if orders is not None:
            orders = structs.replace(orders, shadows=self._toll.spare(orders.shadows))
        return configuration(
            self._settings,
            slot.name,
            slot.device,
            node_pid=os.getpid(),
            orders=orders,
            left_out={**self._toll.refused, **left_out},
            deadly_tiers=self._toll.tiers,
        )

    def take_start(self, started: "asyncio.Future[Started]") -> None:
        """An executor has started, or never will."""
        if started.cancelled() or started.exception() is not None:
            return
        report = started.result()
        self.holdings.learn(report.models)
        for model in report.models:
            if model.refused:
                log.error(
                    "model_refused", model=model.model, version=model.version, reason=model.refused
                )
        log.info("executor_started", slot=report.slot, pid=report.pid, start_ms=report.start_ms)
        self._first.set()
        self._works.go_on()

    def bury(self, handle: Handle, status: int) -> bool:
        """After a death: suspects to their lanes, all else to the queues' heads.

        Raises:
            ConfigurationError: the first executor said that it can never compute.
        """
        if handle.refused is not None and not self._first.is_set():
            raise handle.refused
        if self._stopping:
            handle.close()
            return True
        orders = self._placing.orders
        shadows = orders.shadows if orders is not None else {}
        reason, left, was_busy, drops_shadows = self._inquest.hold(handle, status, shadows)
        if drops_shadows:
            self.mirror(shadows)
        if reason != deaths.RETIRED:
            self._answers.take_death(reason)
        handle.close()
        self._works.give_back(left.again)
        for block in left.unread:
            self._answers.take_unread(block, left.accused.get(block.lane, ()))
        for lane, offsets in left.accused.items():
            self._answers.take_suspects(lane, offsets, reason)
        self._works.go_on()
        return was_busy


def _first(failure: BaseException) -> BaseException:
    """What began it, out of a group for each slot and one for all."""
    while isinstance(failure, ExceptionGroup):
        failure = cast(ExceptionGroup[Exception], failure).exceptions[0]
    return failure
