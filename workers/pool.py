"""All executors of a node: who gets which work, and what happens when one dies.

    submit ── queues, one a lane ── the least loaded executor ── outcomes ── take_outcomes
                 ▲                            └ dies ── suspects ── take_suspects
                 └───────── all others ───────────┘

Lanes take turns, and none may fill an executor alone, so that one whose model is slow holds up no
other. Memory is bounded by what lanes submit: their windows. An executor that dies is replaced at
once, or after a pause if it dies again and again before it has computed anything.
`tests/workers/test_pool.py` and `test_blocks.py` run it with real processes,
`test_executor_deaths.py` kills them.
"""

import asyncio
import os
import time
from collections import OrderedDict, deque
from collections.abc import Collection, Sequence
from typing import Protocol

import structlog

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.settings import Settings
from chimera.schemas.work import Block, Outcomes, Results, Started, Work
from chimera.workers import deaths
from chimera.workers.configuration import configuration
from chimera.workers.devices import devices
from chimera.workers.frames import MAX_BODY_BYTES
from chimera.workers.handle import ENTRY, Handle
from chimera.workers.pieces import pieces

log = structlog.get_logger(__name__)

LANE_BATCHES = 2  # of the largest size: a lane with so many records at an executor waits
ALL_LANES = 8  # times a lane's share: what an executor has in flight at most
BYTES_IN_FLIGHT = 16 << 20  # at one executor; a single larger piece still goes
WATCH_S = 0.25
OOM_SAMPLES = 20  # looks back: the kernel needs time to end a large process
START_WITHIN_S = 300.0  # models may be large, a compiler slow; a longer start is a hang
BACK_OFF_S = (0.0, 0.25, 1.0, 4.0, 15.0, 30.0)
LONG_ENOUGH_S = 10.0  # an executor that lived so long did not die of its start
LOADING_DEATHS = 2  # a model that ended so many executors while loading is left out


class Answers(Protocol):
    """Who submits, and hears the answers."""

    def take_outcomes(self, outcomes: Outcomes) -> None: ...
    def take_results(self, results: Results) -> None: ...

    def take_unread(self, block: Block, accused: Collection[int]) -> None:
        """No executor has it now: the submitter reads it, and submits all but the accused."""
        ...

    def take_suspects(self, lane: int, offsets: list[int], reason: str) -> None:
        """They were being computed when an executor died: crashed, hung or out_of_memory."""
        ...

    def take_death(self, reason: str) -> None:
        """An executor died, whatever it was doing."""
        ...


class Pool:
    """Parent side."""

    def __init__(
        self,
        settings: Settings,
        answers: Answers,
        *,
        entry: Sequence[str] = ENTRY,
    ) -> None:
        """`entry` is what tests replace.

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
        self._handles: dict[str, Handle] = {}
        self._queues: OrderedDict[int, deque[Work | Block]] = OrderedDict()
        self._loading_deaths: dict[str, int] = {}
        self._lane_records = LANE_BATCHES * max(settings.batching.max_batch_size, 256)
        self._stopping = False
        self._main: asyncio.Task[None] | None = None
        self._first: asyncio.Event = asyncio.Event()
        self._oom_kills = deque([deaths.count_oom_kills()], OOM_SAMPLES)

    # Life.

    async def start(self) -> None:
        """Returns when one executor can compute (the others follow), or after `stop`.

        Raises:
            ConfigurationError: a device is named that is none, or cannot be used.
        """
        slots = await devices(self._settings.serving.devices)
        self._main = asyncio.create_task(self._run(slots), name="pool")
        ready = asyncio.create_task(self._first.wait(), name="pool-ready")
        await asyncio.wait((self._main, ready), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._main.done() and not self._main.cancelled():
            self._raise_failure(self._main)

    @staticmethod
    def _raise_failure(main: "asyncio.Task[None]") -> None:
        try:
            main.result()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def stop(self) -> None:
        """End all executors at once; what they had is lost, and nothing is left behind."""
        self._stopping = True
        self._queues.clear()
        for handle in self._handles.values():
            handle.kill("stopped")
        if self._main is not None:
            self._main.cancel()
            await asyncio.gather(self._main, return_exceptions=True)

    @property
    def available(self) -> bool:
        """Whether any executor can compute now."""
        return any(handle.is_ready for handle in self._handles.values())

    @property
    def executors(self) -> list[Started]:
        """Reports of those that can compute now."""
        return [one.started.result() for one in self._handles.values() if one.is_ready]

    # Work.

    def submit(self, work: Work) -> None:
        """Never waits. What a lane submits is bounded by its window."""
        if work.offsets:
            self._queue(work.lane).extend(pieces(work))
            self._dispatch()

    def submit_block(self, block: Block) -> None:
        """As `submit`, for records that nobody has read yet."""
        self._queue(block.lane).append(block)
        self._dispatch()

    def _queue(self, lane: int) -> "deque[Work | Block]":
        queue = self._queues.get(lane)
        if queue is None:
            queue = self._queues[lane] = deque()
        return queue

    def forget(self, lane: int) -> None:
        """Drop all that a lane has submitted; no answer to it will come."""
        self._queues.pop(lane, None)
        for handle in self._handles.values():
            handle.forget(lane)
        self._dispatch()

    def _dispatch(self) -> None:
        """Give out what can be given out, lanes in turn."""
        waiting = len(self._queues)
        while waiting:
            lane, queue = next(iter(self._queues.items()))
            handle = self._choose(lane)
            if handle is None:
                waiting -= 1
            else:
                handle.send(queue.popleft())
                waiting = len(self._queues)
            if queue:
                self._queues.move_to_end(lane)
            else:
                del self._queues[lane]
                waiting = min(waiting, len(self._queues))

    def _choose(self, lane: int) -> Handle | None:
        """The least loaded executor that may take more of this lane."""
        best: Handle | None = None
        for handle in self._handles.values():
            if (
                handle.is_ready
                and handle.records < self._lane_records * ALL_LANES
                and handle.bytes < BYTES_IN_FLIGHT
                and handle.records_of(lane) < self._lane_records
                and (best is None or handle.records < best.records)
            ):
                best = handle
        return best

    # What executors say.

    def take_outcomes(self, outcomes: Outcomes) -> None:
        self._answers.take_outcomes(outcomes)
        if self._queues:
            self._dispatch()

    def take_results(self, results: Results) -> None:
        self._answers.take_results(results)
        if self._queues:
            self._dispatch()

    def take_unread(self, block: Block) -> None:
        self._answers.take_unread(block, ())
        if self._queues:
            self._dispatch()

    # Executors.

    async def _run(self, slots: Sequence[str]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for device in slots:
                    for number in range(self._settings.serving.executors):
                        group.create_task(self._keep(f"{device}:{number}", device))
                group.create_task(self._watch())
        finally:
            for handle in self._handles.values():
                handle.kill("stopped")
            for handle in list(self._handles.values()):
                await handle.wait()
                handle.close()
            self._handles.clear()

    async def _keep(self, slot: str, device: str) -> None:
        """Keep one executor alive in its slot."""
        failures = 0
        while not self._stopping:
            await asyncio.sleep(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
            handle = Handle(
                configuration(
                    self._settings, slot, device, node_pid=os.getpid(), refused=self._refused()
                ),
                self,
            )
            self._handles[slot] = handle
            try:
                await handle.spawn(self._entry)
            except OSError as error:
                log.error("executor_not_spawned", slot=slot, reason=str(error))
                failures += 1
                await handle.wait()
                handle.close()
                del self._handles[slot]
                continue
            handle.started.add_done_callback(self._on_started)
            status = await handle.wait()
            if handle.refused is not None and not self._first.is_set():
                raise handle.refused
            was_busy = self._bury(slot, handle, status)
            lived_s = time.monotonic() - handle.spawned_s
            failures = 0 if was_busy or lived_s > LONG_ENOUGH_S else failures + 1

    def _on_started(self, started: "asyncio.Future[Started]") -> None:
        if started.cancelled() or started.exception() is not None:
            return
        report = started.result()
        for model in report.models:
            if model.refused:
                log.error(
                    "model_refused", model=model.model, version=model.version, reason=model.refused
                )
        log.info("executor_started", slot=report.slot, pid=report.pid, start_ms=report.start_ms)
        self._first.set()
        self._dispatch()

    def _refused(self) -> tuple[str, ...]:
        return tuple(
            name for name, count in self._loading_deaths.items() if count >= LOADING_DEATHS
        )

    def _bury(self, slot: str, handle: Handle, status: int) -> bool:
        """After a death: suspects to their lanes, all else to the queues' heads."""
        del self._handles[slot]
        if self._stopping:
            handle.close()
            return True
        oom_kills = deaths.count_oom_kills() - self._oom_kills[0]
        reason = deaths.reason(handle.kill_reason, status, oom_kills=oom_kills)
        left = deaths.legacy(handle.abandoned(), handle.suspects())
        if name := handle.loading():
            self._loading_deaths[name] = self._loading_deaths.get(name, 0) + 1
        handle.close()
        log.error(
            "executor_died", slot=slot, status=status, reason=reason, loading=name,
            suspects=sum(map(len, left.accused.values())),
        )  # fmt: skip
        self._answers.take_death(reason)
        for work in reversed(left.again):
            self._queue(work.lane).appendleft(work)
        for block in left.unread:
            self._answers.take_unread(block, left.accused.get(block.lane, ()))
        for lane, offsets in left.accused.items():
            self._answers.take_suspects(lane, offsets, reason)
        self._dispatch()
        return bool(left.accused)

    async def _watch(self) -> None:
        """Replace executors that hang."""
        timeout_s = self._settings.serving.run_timeout_ms / 1000
        last_s = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_S)
            now_s = time.monotonic()
            was_held_up = now_s - last_s > 4 * WATCH_S  # this loop: executors may wait for it
            last_s = now_s
            if was_held_up:
                continue
            self._oom_kills.append(deaths.count_oom_kills())
            for handle in self._handles.values():
                self._judge(handle, now_s, timeout_s)

    def _judge(self, handle: Handle, now_s: float, timeout_s: float) -> None:
        if not handle.started.done():
            if now_s - handle.spawned_s > START_WITHIN_S:
                handle.kill("hung")
            return
        since_s = handle.stuck_since_s()
        if since_s is not None and now_s - since_s > timeout_s:
            log.error("executor_hangs", slot=handle.configuration.slot, seconds=now_s - since_s)
            handle.kill("hung")
