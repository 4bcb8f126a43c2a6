"""A lane: one input partition's window, and every decision about what is in it. No I/O of its own.

    put ─ take in ─ window ─ executors ─ answer ─ decided prefix ─ CommitLoop ─ visible
                      │                    └ failed ─ again here, later on a topic, or an error
                      └ full: the partition pauses

A request is decided once: by its answer, by its deadline, or because nothing could answer it in
time. What comes later for it is dropped. All clocks are passed in, except where work enters.
`tests/agents/test_lane.py` drives it without a broker; `tests/integration` with everything.
"""

import asyncio
import time
from collections.abc import Collection, Iterable, Sequence

import msgspec
import structlog

from chimera.agents.fetched import Run
from chimera.agents.intake import Intake, Rules, case_of, take_in
from chimera.agents.outcomes import Case, Entry, Error, Later, Outcome, end_of
from chimera.agents.shared import Shared
from chimera.agents.timers import Timers
from chimera.agents.window import Hole, Window
from chimera.schemas import stored
from chimera.schemas.errors import (
    BY_CODE,
    REQUEST_ERRORS,
    BackendUnavailable,
    DeadlineExceeded,
    OutOfMemory,
    RequestError,
    WorkerCrashed,
)
from chimera.schemas.request_heads import identify
from chimera.schemas.stored import Stored as Raw
from chimera.schemas.work import Block, Failure, Outcomes, Results, Work
from chimera.topics import retry

log = structlog.get_logger(__name__)

READ_HERE = 64  # runs that a lane reads itself, at most, after blocks came back again and again
LOOKS = 3  # a rebalance explains one hole, two are bad luck; after so many it is really there
HELD_RUNS = 8  # while a lane opens; with more its partition pauses
LEAST_RECORDS = 64  # a slow lane's window never shrinks below this
WINDOW_SHARE = 0.25  # a window should drain in this share of `decide_within_ms`

_FAILURE = msgspec.json.Decoder(Failure)


class Lane:
    """Not open until `open` gives it its position; runs that come before are held."""

    def __init__(self, shared: Shared, topic: str, partition: int, serial: int) -> None:
        self.topic, self.partition, self.serial = topic, partition, serial
        self.decided = asyncio.Event()  # set when there is something to commit
        self._shared = shared
        self._serving = serving = shared.settings.serving
        self._policy = retry.Policy.of(serving)
        self._rules = Rules(
            topic,
            partition,
            serial,
            any(topic == rung.name for rung in shared.catalogue.retries),
            serving.max_request_bytes,
            serving.deadline_tolerance_ms,
        )
        self.lost: Hole | None = None  # set when requests vanished from the log before we read them
        self.condemned = ""  # why it may go no further
        self._hole_seen = 0
        self._window: Window[Raw, Block, Outcome] | None = None
        self._held: list[Run] = []
        self._cases: dict[int, Case] = {}
        self._deaths: dict[int, int] = {}
        self._timers = Timers()
        self._read_here = 0  # so many more runs are read by this lane, not passed on as blocks
        self._has_seen_deadlines = False
        self._came_back = 0  # blocks, since one was answered
        self._handed_on: set[int] = set()  # blocks whose records went out again by themselves
        self._paused = self.closed = False
        self._limit = serving.window_records
        self._ticked_s = time.monotonic()

    def __len__(self) -> int:
        return len(self._window) if self._window else 0

    @property
    def position(self) -> int | None:
        """The first offset that is not committed; None until the lane is open."""
        return None if self._window is None else self._window.oldest

    # Records come in.

    def open(self, position: int, deaths: dict[int, int]) -> None:
        """Start at `position`; `deaths` counts the executors that offsets have killed so far."""
        self._deaths = deaths
        if self._window is None:
            self._window = Window(position)
        else:
            self.rewind(position)
        held, self._held = self._held, []
        self._resume()
        for run in held:
            self.put(run)

    def put(self, run: Run) -> None:
        """Take a run; called in the order in which Faust delivers."""
        if self.closed:
            return
        if self._window is None:
            self._held.append(run)
            if len(self._held) >= HELD_RUNS:
                self._pause()
            return
        try:
            if not self._pass_on(run) and not self._take(run):
                return
        except Hole as hole:
            self._look_for(hole)
            return
        self._hole_seen = 0
        self._timers.enter(time.monotonic(), self._window.next)
        if len(self._window) >= self._limit or self._window.bytes >= self._serving.window_bytes:
            self._pause()

    def _pass_on(self, run: Run) -> bool:
        """Give the run to an executor as it is, if nothing speaks against it.

        Raises:
            Hole: something before it was left out.
        """
        assert self._window is not None
        if self._rules.is_retry or self._deaths:
            return False
        if self._read_here:
            self._read_here -= 1
            return False
        block = run.block(
            self.serial, self._shared.settings.fetch.block_records, search=self._has_seen_deadlines
        )
        if block is None or not self._window.accept_block(run.start, block):
            return False
        self._shared.step("after_poll")
        self._shared.step("before_compute")
        block.entered_ns = time.monotonic_ns()
        self._shared.executors.submit_block(block)
        self._shared.step("mid_compute")
        return True

    def _take(self, run: Run) -> bool:
        """Read the run here; whether any of it was new. Raises Hole, as `_pass_on`."""
        assert self._window is not None
        fresh = self._window.accept(run.start, run.records, run.next)
        if fresh:
            self._shared.step("after_poll")
            self._admit(fresh)
        return bool(fresh)

    def unread(self, block: Block, accused: Collection[int]) -> None:
        """A block comes back: from an executor that will not answer it as one, or that died.

        All of it is computed (again) but for the accused, which `suspect` will name.
        """
        window = self._window
        if self.closed or window is None:
            return
        self._read_here = min(READ_HERE, 1 << self._came_back)
        self._came_back = min(self._came_back + 1, READ_HERE)
        if window.block(block.first) is block:
            self._admit(self._read(block), accused)
        elif block.first in self._handed_on:  # read and submitted when it was rewound
            self._handed_on.discard(block.first)
        else:  # some of it failed, so it was read; what failed is with whoever tries it again
            left = set(window.undecided_before(block.next)).difference(
                window.undecided_before(block.first), accused, self._cases, self._deaths
            )
            self.resubmit(left, isolate=False)

    def _read(self, block: Block) -> Sequence[Raw]:
        """Put a block's records into its place; nobody is asked to compute them here."""
        assert self._window is not None
        records = stored.parse(block.raw)
        self._window.open(block, records)
        return records

    def _look_for(self, hole: Hole) -> None:
        """Read again from where something is missing; if it stays missing, it was removed."""
        self._shared.metrics.holes.inc()
        self._hole_seen += 1
        if self._hole_seen <= LOOKS:
            self._shared.flow.seek(self.topic, self.partition, hole.expected)
        else:
            self.lost = hole
            self._pause()
            self.decided.set()

    def read_again(self) -> None:
        """What seemed lost is there: it was overtaken by runs that were on their way."""
        assert self._window is not None
        self.lost, self._hole_seen = None, 0
        self._shared.flow.seek(self.topic, self.partition, self._window.next)
        self._resume()

    def _admit(self, records: Sequence[Raw], accused: Collection[int] = ()) -> None:
        taken = take_in(self._rules, records, now_ms=_now_ms(), entered_ns=time.monotonic_ns())
        self._cases.update(taken.cases)
        self._timers.expire_at(taken.deadlines)
        self._has_seen_deadlines = self._has_seen_deadlines or bool(taken.deadlines)
        for offset, error in taken.refused:
            self._end(offset, error)
        if self._deaths or accused:
            self._admit_survivors(taken, accused)
        elif taken.due_ms:
            self._timers.wait_until(taken.due_ms, taken.work.offsets)
        else:
            self._submit(taken.work)
        if taken.refused:
            self._signal()

    def _admit_survivors(self, taken: Intake, accused: Collection[int]) -> None:
        """Requests that killed an executor before go one by one, or not at all."""
        offsets = set(taken.work.offsets).difference(accused)
        suspects = sorted(offsets.intersection(self._deaths))
        self.resubmit(offsets.difference(suspects), isolate=False)
        self._judge(suspects, WorkerCrashed)

    def _submit(self, work: Work) -> None:
        if work.offsets:
            self._shared.step("before_compute")
            self._shared.executors.submit(work)
            self._shared.step("mid_compute")

    def resubmit(self, offsets: Iterable[int], *, isolate: bool) -> None:
        """Compute requests of the window (again), in offset order."""
        assert self._window is not None
        records = [
            self._window.record(offset)
            for offset in sorted(offsets)
            if self._window.is_undecided(offset)
        ]
        if records:
            taken = take_in(
                self._rules,
                records,
                now_ms=_now_ms(),
                entered_ns=time.monotonic_ns(),
                isolate=isolate,
            )
            self._submit(taken.work)

    # Answers come back.

    def answer(self, outcomes: Outcomes) -> None:
        """Take one lane's part of a computed batch."""
        window = self._window
        if self.closed or window is None:
            return
        offsets, codes, bodies = outcomes.offsets, outcomes.codes, outcomes.bodies
        if window.has_blocks:
            for block in window.blocks_of(offsets):
                self._read(block)  # it is answered one by one after all
        if codes.count(0) == len(codes) and window.are_undecided(offsets):
            window.decide(offsets, bodies)
        else:
            for offset, code, body in zip(offsets, codes, bodies, strict=True):
                if not window.is_undecided(offset):
                    continue
                if code:
                    self._failed(offset, REQUEST_ERRORS[code - 1], body, outcomes.batch.ordering)
                else:
                    window.decide((offset,), (body,))
        self._signal()

    def answer_block(self, results: Results) -> None:
        """Take all results of a block."""
        window = self._window
        if self.closed or window is None:
            return
        self._came_back = 0
        window.decide_block(results.first, results)  # unless it was read here meanwhile
        self._signal()

    def suspect(self, offsets: list[int], reason: str) -> dict[int, int]:
        """These were being computed when an executor died; their new counts of deaths."""
        assert self._window is not None
        counted: dict[int, int] = {}
        for offset in offsets:
            if self._window.is_undecided(offset):
                self._deaths[offset] = counted[offset] = self._deaths.get(offset, 0) + 1
        log.warning("executor_died_with", topic=self.topic, offsets=len(counted), reason=reason)
        return counted

    def settle_suspects(self, offsets: Iterable[int], reason: str) -> None:
        """After their deaths were written down: each is computed alone, or never again."""
        if not self.closed:
            self._judge(offsets, OutOfMemory if reason == "out_of_memory" else WorkerCrashed)

    def _judge(self, offsets: Iterable[int], error: type[RequestError]) -> None:
        alone: list[int] = []
        for offset in offsets:
            if self._window is None or not self._window.is_undecided(offset):
                continue  # its time ran out meanwhile
            if self._deaths[offset] < self._serving.crash_limit:
                alone.append(offset)
            else:
                self._end(offset, error(f"it ended {self._deaths[offset]} executors"))
        self.resubmit(alone, isolate=True)
        self._signal()

    def _failed(self, offset: int, kind: type[RequestError], body: bytes, ordering: str) -> None:
        assert self._window is not None
        failure = _FAILURE.decode(body)
        now_ms = _now_ms()
        case = self._case(offset)
        case.attempt += 1
        case.first_failure_ms = case.first_failure_ms or now_ms
        case.entered_ms = case.entered_ms or now_ms
        error = Error(kind.code, failure.message, case, failure.model, failure.id)
        decision = retry.decide(
            retry.Failed(
                error=kind,
                ordering="none" if ordering == "none" else "key",
                attempt=case.attempt,
                entered_ms=case.entered_ms,
                first_failure_ms=case.first_failure_ms,
                deadline_ms=case.deadline_ms,
            ),
            self._policy,
            now_ms,
        )
        if isinstance(decision, retry.RetryInLane):
            self._timers.try_at(decision.at_ms, offset)
        elif isinstance(decision, retry.RetryOnTopic):
            self._decide(offset, Later(decision.rung, decision.not_before_ms, error))
        else:
            self._decide(offset, error)

    def _end(self, offset: int, error: RequestError) -> None:
        """Decide a request that no executor answered."""
        assert self._window is not None
        case = self._case(offset)
        case.attempt += 1
        case.first_failure_ms = case.first_failure_ms or _now_ms()
        id_, model = identify(self._window.record(offset).value or b"")
        self._decide(offset, Error(error.code, str(error), case, model, id_))

    def _decide(self, offset: int, outcome: Outcome) -> None:
        assert self._window is not None
        self._window.decide((offset,), (outcome,))

    def _case(self, offset: int) -> Case:
        assert self._window is not None
        case = self._cases.get(offset)
        if case is None:
            case = self._cases[offset] = case_of(self._rules, self._window.record(offset))
        return case

    # Time passes.

    def tick(self, now_s: float, now_ms: int) -> None:
        """Answer what has run out of time, and compute again what is due; many times a second."""
        elapsed_s, self._ticked_s = now_s - self._ticked_s, now_s
        window = self._window
        if self.closed or window is None:
            return
        for deadline_ms, offset in self._timers.expired(now_ms):
            if window.is_undecided(offset):
                self._end(offset, DeadlineExceeded(f"the deadline {deadline_ms} has passed"))
        self.resubmit(self._timers.due(now_ms), isolate=False)
        if self._shared.executors.available:
            self._answer_overdue(now_s - self._serving.decide_within_ms / 1000)
        else:
            self._timers.stand_still(elapsed_s)
        self._signal()

    def _answer_overdue(self, entered_before_s: float) -> None:
        assert self._window is not None
        end = self._timers.overdue(entered_before_s)
        if end is not None:
            for block in self._window.blocks_before(end):
                self._read(block)
            not_due = self._timers.not_due()
            for offset in list(self._window.undecided_before(end)):
                if offset not in not_due:
                    self._end(offset, BackendUnavailable("no answer in time"))

    # The decided prefix goes out.

    def prefix(self, limit: int) -> list[tuple[Entry, Outcome]]:
        return self._window.prefix(limit) if self._window else []

    def committed(self, prefix: Sequence[tuple[Entry, Outcome]], rate: float) -> list[int]:
        """Forget what is committed; returns the offsets whose deaths may be forgotten too."""
        assert self._window is not None
        self._window.drop(len(prefix))
        end = end_of(prefix[-1][0])
        if self._cases:
            self._cases = {offset: case for offset, case in self._cases.items() if offset >= end}
        finished = [offset for offset in self._deaths if offset < end]
        for offset in finished:
            del self._deaths[offset]
        self._timers.forget_below(end)
        wanted = rate * self._serving.decide_within_ms / 1000 * WINDOW_SHARE
        self._limit = max(LEAST_RECORDS, min(self._serving.window_records, int(wanted)))
        self._resume_if_there_is_room()
        self._signal()
        return finished

    def _resume_if_there_is_room(self) -> None:
        window = self._window
        if (
            window is not None
            and len(window) <= self._limit // 2
            and window.bytes <= self._serving.window_bytes // 2
        ):
            self._resume()

    def rewind(self, position: int) -> None:
        """After a fence: continue at what is committed."""
        window = self._window
        assert window is not None
        block = window.around(position)
        cut: Sequence[Raw] = () if block is None else self._read(block)
        window.rewind(position)
        if block is not None:
            self._handed_on.add(block.first)  # whoever has it will be ignored
            self._admit([record for record in cut if record.offset >= position])
        self._resume_if_there_is_room()
        self._signal()

    def condemn(self, reason: str) -> None:
        """Go no further: the commit loop halts."""
        self.condemned = reason
        self._pause()
        self.decided.set()

    def close(self) -> None:
        """Take nothing more; what is decided may still be committed."""
        self.closed = True
        self._shared.executors.forget(self.serial)

    @property
    def behind(self) -> bool:
        """Whether there is a backlog: the window is full, or nearly so."""
        return len(self) >= self._limit // 2

    @property
    def ready(self) -> bool:
        return self._window is not None and self._window.ready

    def _signal(self) -> None:
        if self.ready or self.lost is not None:
            self.decided.set()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._shared.flow.pause(self.topic, self.partition)

    def _resume(self) -> None:
        if self._paused and not self.closed:
            self._paused = False
            self._shared.flow.resume(self.topic, self.partition)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def code_of(outcome: Outcome) -> str:
    """How outcomes are counted: by an error's code, as `retry`, or `ok`."""
    if isinstance(outcome, Error):
        return BY_CODE[outcome.code].code
    return "retry" if isinstance(outcome, Later) else "ok"
