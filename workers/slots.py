"""A slot: one device, and the executor that computes there now.

    vacant ── spawned ── started ── dies ──────────────── vacant; the next one after a pause
                            └── a successor is adopted ── retires: answers what it has, and ends

A slot is never without an executor for the sake of another: a successor is warm before works go to
it, and one that does not get that far changes nothing.
`tests/workers/test_placing.py` and `test_executor_deaths.py`.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import structlog

from chimera.schemas.work import Started
from chimera.workers.aside import BESIDE
from chimera.workers.births import Births
from chimera.workers.configuration import Configuration
from chimera.workers.deaths import RETIRED
from chimera.workers.handle import Audience, Handle

log = structlog.get_logger(__name__)

BACK_OFF_S = (0.0, 0.25, 1.0, 4.0, 15.0, 30.0)
LONG_ENOUGH_S = 10.0  # an executor that lived so long did not die of its start
RETIRE_WITHIN_S = 30.0  # what it has not answered by then is given to others


class Owner(Audience, Protocol):
    """Who gives works to executors, and hears of their ends."""

    def take_start(self, started: "asyncio.Future[Started]") -> None:
        """It has started, or never will."""
        ...

    def bury(self, handle: Handle, status: int) -> bool:
        """It is dead; returns whether it had been computing."""
        ...


class Slot:
    """`keep` runs for as long as the slot is to have an executor."""

    def __init__(
        self,
        name: str,
        device: str,
        owner: Owner,
        births: Births,
        entry: Callable[[Configuration], Sequence[str]],
        configure: Callable[["Slot"], Configuration],
    ) -> None:
        """`configure` makes what the next executor is told, `entry` its command line."""
        self.name, self.device = name, device
        self.handles: set[Handle] = set()  # of all that live: who computes, and who did or will
        self.current: Handle | None = None  # gets works once it has started
        self._owner, self._births = owner, births
        self._entry = entry
        self._configure = configure
        self._vacant = asyncio.Event()
        self._failures = 0
        self._group = asyncio.TaskGroup()

    async def keep(self) -> None:
        """Until cancelled. Raises ConfigurationError: an executor says that it can never compute."""
        async with self._group:
            while True:
                self._vacant.clear()
                await asyncio.sleep(BACK_OFF_S[min(self._failures, len(BACK_OFF_S) - 1)])
                if self.current is None:  # else a successor was adopted meanwhile
                    self.current = await self._spawn(self._configure(self))
                if self.current is not None:
                    await self._vacant.wait()

    async def prepare(
        self,
        configuration: Configuration,
        within_s: float,
        superseded: asyncio.Event | None = None,
    ) -> Handle | None:
        """Start a successor; None: it did not get as far as that, also since it was superseded."""
        handle = await self._spawn(configuration, BESIDE if self.current else 0)
        if handle is None:
            return None
        ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(handle.ended.wait())]
        if superseded is not None:
            ends.append(asyncio.ensure_future(superseded.wait()))
        try:
            await asyncio.wait(
                [handle.started, *ends], timeout=within_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for end in ends:
                end.cancel()
        if handle.is_ready:
            return handle
        handle.kill(RETIRED)
        return None

    def adopt(self, successor: Handle) -> None:
        """Works go to it from now on; whoever computed here answers what it has, and ends."""
        retiring, self.current = self.current, successor
        if retiring is not None:
            self._group.create_task(self._retire(retiring))

    def vacate(self) -> None:
        """Whoever computes here ends; the next one is told what is true now."""
        if self.current is not None:
            self.current.kill(RETIRED)

    async def _spawn(self, configuration: Configuration, niceness: int = 0) -> Handle | None:
        try:
            birth = self._births.of(self._entry(configuration), niceness)
        except OSError as error:
            log.error("executor_not_spawned", slot=self.name, reason=str(error))
            self._failures += 1
            return None
        handle = Handle(configuration, birth, self._owner)
        self.handles.add(handle)
        try:
            await handle.configure()
        except OSError as error:
            log.error("executor_not_spawned", slot=self.name, reason=str(error))
            self._failures += 1
            await handle.wait()
            handle.close()
            self.handles.discard(handle)
            return None
        handle.started.add_done_callback(self._owner.take_start)
        self._group.create_task(self._mind(handle))
        return handle

    async def _mind(self, handle: Handle) -> None:
        """From its birth to its burial."""
        status = await handle.wait()
        self.handles.discard(handle)
        was_busy = self._owner.bury(handle, status)
        if self.current is handle:
            lived_s = time.monotonic() - handle.spawned_s
            self._failures = 0 if was_busy or lived_s > LONG_ENOUGH_S else self._failures + 1
            self.current = None
            self._vacant.set()

    async def _retire(self, handle: Handle) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(handle.idle.wait(), RETIRE_WITHIN_S)
        handle.kill(RETIRED)
