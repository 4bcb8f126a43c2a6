"""One executor as its node sees it: its process, its socket, and what it has in flight.

    born ── configured ── started ── works out, outcomes in ── end of stream: dead, all read

That the stream has ended means that the process has, and that every answer it sent was taken: what
is in flight then was never answered. Works are numbered; an answer to a number that is not in
flight (its lane is forgotten) is dropped. `tests/workers/test_pool.py`.
"""

import asyncio
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Protocol, cast

import msgspec
import structlog

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.placements import Shadows, Traffic
from chimera.schemas.work import Block, Deferred, Outcomes, Results, Started, Work
from chimera.workers import block_frames, frames, reports, work_frames
from chimera.workers.births import Birth
from chimera.workers.configuration import Configuration
from chimera.workers.frames import BrokenFrame, Kind, Reassembly
from chimera.workers.pieces import part
from chimera.workers.reports import Report
from chimera.workers.suspects import Doing
from chimera.workers.work_frames import Answered

log = structlog.get_logger(__name__)

POLL_S = 0.002  # between looks at a process whose stream has ended
END_WITHIN_S = 5.0  # from the end of its stream to its own

_STARTED = msgspec.json.Decoder(Started)


@dataclass(slots=True)
class Flight:
    """A work or block that an executor has, and which of its offsets need no answer any more."""

    given: Work | Block
    left: int
    bytes: int
    done: list[Collection[int]] = field(default_factory=list[Collection[int]])

    def abandoned(self) -> Work | Block:
        """What is left of it: a work without those that are done; a block's lane knows them."""
        given = self.given
        if isinstance(given, Block) or not self.done:
            return given
        done = {offset for offsets in self.done for offset in offsets}
        return part(given, [at for at, offset in enumerate(given.offsets) if offset not in done])


class Audience(Protocol):
    """Who hears what an executor says."""

    def take_outcomes(self, outcomes: Outcomes) -> None: ...
    def take_results(self, results: Results) -> None: ...
    def take_unread(self, block: Block) -> None: ...
    def take_deferred(self, deferred: Deferred) -> None: ...
    def take_report(self, report: Report) -> None: ...


class Handle(asyncio.Protocol):
    """Of a process that was born; `configure` it. `started` and `ended` are set once each."""

    def __init__(
        self,
        configuration: Configuration,
        birth: Birth,
        audience: Audience,
    ) -> None:
        self.configuration = configuration
        self.started: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        self.idle = asyncio.Event()  # it has answered all that it was given, or never will
        self.idle.set()
        self.records = self.bytes = 0  # in flight
        self.answered = 0
        self.kill_reason = ""
        self.spawned_s = time.monotonic()
        self._audience = audience
        self._birth, self._board, self._process = birth, birth.board, birth.process
        self._flights: dict[int, Flight] = {}
        self._lanes: dict[int, int] = {}  # records in flight by lane
        self._next_serial = 0
        self._is_started = self._is_configured = False
        self._early: list[bytes | memoryview] = []  # frames for after the configuration
        self._reassembly = Reassembly()
        self._transport: asyncio.WriteTransport | None = None

    # Life.

    async def configure(self) -> None:
        """Send the process its configuration; it reports when it is `started`."""
        stream = self._birth.stream
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=stream)
        except BaseException:
            stream.close()
            self.ended.set()
            self.kill("crashed")
            raise
        self._is_configured = True
        self._write(frames.frame(Kind.CONFIGURE, msgspec.json.encode(self.configuration)))
        for early in self._early:
            self._write(early)

    def kill(self, reason: str) -> None:
        """End the process; `ended` follows when its last answers were read."""
        if not self.kill_reason:
            self.kill_reason = reason
            self._process.kill()

    async def wait(self) -> int:
        """The status of the ended process, negative for a signal."""
        await self.ended.wait()
        self.started.cancel()
        given_up_s = time.monotonic() + END_WITHIN_S
        while (status := self._process.poll()) is None:
            if time.monotonic() > given_up_s:  # it closed the stream and lives on
                self.kill("crashed")
            await asyncio.sleep(POLL_S)
        return status

    def close(self) -> None:
        """Give back what it had, after `wait` has returned."""
        if self._transport is not None:
            self._transport.abort()
        self._board.close()

    # What the pool asks.

    @property
    def is_ready(self) -> bool:
        return self._is_started and not self.ended.is_set() and not self.kill_reason

    @property
    def refused(self) -> BaseException | None:
        """Why it cannot compute at all, if it said so."""
        started = self.started
        return started.exception() if started.done() and not started.cancelled() else None

    def records_of(self, lane: int) -> int:
        """Records of a lane that are in flight here."""
        return self._lanes.get(lane, 0)

    def send(self, given: Work | Block) -> None:
        serial = self._next_serial
        self._next_serial += 1
        frame: tuple[bytes | memoryview, ...]
        if isinstance(given, Block):
            count, size = given.count, len(given.raw)
            frame = block_frames.frame_block(serial, given)
        else:
            count, size = len(given.offsets), sum(map(len, given.values))
            frame = (work_frames.frame_work(serial, given),)
        self._flights[serial] = Flight(given, count, size)
        self._lanes[given.lane] = self._lanes.get(given.lane, 0) + count
        self.records += count
        self.bytes += size
        self.idle.clear()
        self._write(*frame)

    def direct(self, traffic: Traffic) -> None:
        """From its next batch on, these versions answer."""
        self._write(frames.frame_direct(traffic))

    def mirror(self, shadows: Shadows) -> None:
        """From its next batch on, these versions compute what others answer."""
        self._write(frames.frame_shadow(shadows))

    def pause(self, models: Iterable[str]) -> None:
        """From its next batch on, requests of these models are handed back, and of no other."""
        self._write(frames.frame_pause(models))

    def withdraw(self, lane: int, offsets: Collection[int]) -> None:
        """Nobody waits for these of a lane: if it has them, it says so without computing them."""
        flights = [flight for flight in self._flights.values() if flight.given.lane == lane]
        for flight in flights:
            flight.done.append(offsets)
        if flights and self.is_ready:
            self._write(frames.frame_withdraw(lane, offsets))

    def forget(self, lane: int) -> None:
        """Drop a lane's works; its answers that are under way go nowhere."""
        gone = [serial for serial, one in self._flights.items() if one.given.lane == lane]
        for serial in gone:
            self._land(serial, self._flights[serial].left)
        if gone and self.is_ready:
            self._write(frames.frame_forget(lane))

    def abandoned(self) -> list[Work | Block]:
        """Of a dead executor: what it was given and has not answered, in the order of its coming."""
        return [flight.abandoned() for flight in self._flights.values()]

    def suspects(self) -> dict[int, set[int]]:
        """Of a dead executor: offsets that it was decoding or computing, by lane."""
        return {lane: set(offsets) for lane, offsets in self._board.suspects().items()}

    def computing(self) -> tuple[str, str]:
        """Of a dead executor: the version that was computing, and its tier; or empty ones."""
        return self._board.computing()

    def tiers(self, version: str) -> tuple[str, ...]:
        """Those that it has loaded of one."""
        models = self.started.result().models if self._is_started else ()
        found = (one.tiers for one in models if f"{one.model}/{one.version}" == version)
        return next(found, ())

    def loading(self) -> str:
        """Of a dead executor: the model that it was loading, or empty."""
        return self._board.loading()

    def shadowing(self) -> str:
        """Of a dead executor: the model that was computing as a shadow, or empty."""
        return self._board.shadowing()

    @property
    def got_on_s(self) -> float:
        """When it last began or ended a batch, or a part of one (monotonic)."""
        return self._board.look().since_ns / 1e9

    def stuck_since_s(self) -> float | None:
        """Since when (monotonic) it does one and the same thing, though there is work; else None."""
        sight = self._board.look()
        if sight.doing in (Doing.DECODING, Doing.COMPUTING, Doing.SHADOWING):
            return sight.since_ns / 1e9
        if self._flights and self.is_ready:
            return max(sight.since_ns, sight.beat_ns) / 1e9
        return None

    # What the loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the interface, but are not registered under it
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for kind, body in self._reassembly.feed(data):
                self._take(kind, body)
        except BrokenFrame as error:
            log.error("executor_sent_no_frame", slot=self.configuration.slot, reason=str(error))
            self.kill("crashed")

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
        self.idle.set()

    def _take(self, kind: Kind, body: bytes) -> None:
        if kind is Kind.OUTCOMES:
            self._answer(work_frames.read_outcomes(body))
        elif kind is Kind.RESULTS:
            serial, results = block_frames.read_results(body)
            if self._land_block(serial) is not None:
                self.answered += results.count
                self._audience.take_results(results)
        elif kind is Kind.UNREAD:
            block = self._land_block(block_frames.read_unread(body))
            if block is not None:
                self._audience.take_unread(block)
        elif kind is Kind.DEFERRED:
            found = frames.read_deferred(body)
            if self._lands(found.serial, found.deferred.lane, found.deferred.offsets):
                self._audience.take_deferred(found.deferred)
        elif kind is Kind.REPORT:
            self._audience.take_report(reports.read_report(body))
        elif kind is Kind.STARTED:
            try:
                report = _STARTED.decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise BrokenFrame(f"started: {error}") from None
            if self.started.done():
                return
            if report.failed:
                self.started.set_exception(ConfigurationError(report.failed))
            else:
                self._is_started = True
                self.started.set_result(report)
        else:
            raise BrokenFrame(f"a node takes no {kind.name}")

    def _land_block(self, serial: int) -> Block | None:
        """The block with that number, which is in flight no more; None: it was not."""
        flight = self._flights.get(serial)
        if flight is None or not isinstance(flight.given, Block):
            return None
        self._land(serial, flight.left)
        return flight.given

    def _answer(self, found: Answered) -> None:
        outcomes, start = found.outcomes, 0
        known = True
        for serial, count in found.parts:
            known &= self._lands(serial, outcomes.lane, outcomes.offsets[start : start + count])
            start += count
        if known:
            self.answered += start
            self._audience.take_outcomes(outcomes)

    def _lands(self, serial: int, lane: int, offsets: list[int]) -> bool:
        """Requests of a work are in flight no more; whether they were: else the lane is forgotten."""
        flight = self._flights.get(serial)
        if flight is None or flight.given.lane != lane:
            return False
        if len(offsets) < flight.left:
            flight.done.append(offsets)
        self._land(serial, len(offsets))
        return True

    def _land(self, serial: int, count: int) -> None:
        """`count` requests of a work are in flight no more."""
        flight = self._flights[serial]
        lane = flight.given.lane
        flight.left -= count
        self.records -= count
        self._lanes[lane] -= count
        if flight.left <= 0:
            self.bytes -= flight.bytes
            del self._flights[serial]
            if not self._flights:
                self.idle.set()
        if self._lanes[lane] <= 0:
            del self._lanes[lane]

    def _write(self, *pieces: bytes | memoryview) -> None:
        """A frame, in as many pieces as it lies in."""
        if not self._is_configured:
            self._early += pieces
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(pieces)
