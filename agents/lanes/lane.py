"""A lane: one input partition's window, and every decision about what is in it. No I/O of its own.

    put ─ take in ─ window ─ executors ─ answer ─ decided prefix ─ CommitLoop ─ visible
                      │                    └ failed ─ again here, later on a topic, or an error
                      └ full: the partition pauses

A request is decided once: by its answer, by its deadline, or because whoever has it got no further;
one that no executor may compute now waits (`deferrals.py`). What comes later for it is dropped.
All clocks are passed in, except where work enters.
`tests/agents/test_lane.py` drives it without a broker; `tests/integration` with everything.
"""

import asyncio
import sys
import time
from collections.abc import Collection, Iterable, Sequence

import msgspec
import structlog

from chimera.agents.lanes.cases import Cases
from chimera.agents.lanes.fetched import Run
from chimera.agents.lanes.intake import Rules, take_in
from chimera.agents.lanes.outcomes import Entry, Outcome, end_of, size_of
from chimera.agents.lanes.reading import Reading
from chimera.agents.lanes.submitting import Submitting
from chimera.agents.lanes.timers import Timers
from chimera.agents.lanes.window import Hole, Window
from chimera.agents.shared import Shared
from chimera.schemas import stored
from chimera.schemas.errors import (
    REQUEST_ERRORS,
    BackendUnavailable,
    DeadlineExceeded,
    OutOfMemory,
    RequestError,
    WorkerCrashed,
)
from chimera.schemas.stored import Stored as Raw
from chimera.schemas.work import BatchStory, Block, Deferred, Failure, Outcomes, Results
from chimera.topics import retry

log = structlog.get_logger(__name__)

HELD_RUNS = 8  # while a lane opens; with more its partition pauses

_FAILURE = msgspec.json.Decoder(Failure)


class Lane:
    """Not open until `open` gives it its position; runs that come before are held."""

    def __init__(self, shared: Shared, topic: str, partition: int, serial: int) -> None:
        self.topic, self.partition, self.serial = topic, partition, serial
        self.decided = asyncio.Event()  # set when there is something to commit
        self._shared = shared
        self._serving = serving = shared.settings.serving
        is_retry = any(topic == rung.name for rung in shared.catalogue.retries)
        self._rules = Rules.of(serving, topic, partition, serial, is_retry=is_retry)
        self._reading = Reading(shared, topic, partition)
        self._submitting = Submitting(shared, self._rules)
        self._cases = Cases(self._rules, retry.Policy.of(serving), serving.crash_limit)
        new_journal = shared.new_journal
        self.journal = new_journal(topic, partition, self._cases) if new_journal else None
        self.condemned = ""  # why it may go no further
        self.closed = False
        self._window: Window[Raw, Block, Outcome] | None = None
        self._held: list[Run] = []
        self._timers = Timers()
        self._handed_on: set[int] = set()  # blocks whose records went out again by themselves
        self._ticked_s = time.monotonic()

    def __len__(self) -> int:
        return len(self._window) if self._window else 0

    @property
    def deferred(self) -> int:
        """Requests that wait since no executor may compute them."""
        return len(self._timers.deferrals)

    @property
    def position(self) -> int | None:
        """The first offset that is not committed; None until the lane is open."""
        return None if self._window is None else self._window.oldest

    @property
    def lost(self) -> Hole | None:
        """Set when requests vanished from the log before we read them."""
        return self._reading.lost

    # Records come in.

    def open(self, position: int, deaths: dict[int, int]) -> None:
        """Start at `position`, or go on there; `deaths` counts whom offsets have killed so far."""
        self._cases.deaths = deaths
        if self._window is None:
            self._window = Window(position, size_of)
        else:
            self.rewind(position)
        if self.lost is not None:  # overtaken by runs that were on their way, or passed over
            self._reading.read_again(self._window.next)
        if self.journal is not None:
            self.journal.begin(position)
        held, self._held = self._held, []
        self._reading.resume()
        for run in held:
            self.put(run)

    def put(self, run: Run) -> None:
        """Take a run; called in the order in which Faust delivers."""
        if self.closed:
            return
        if self._window is None:
            self._held.append(run)
            if len(self._held) >= HELD_RUNS:
                self._reading.pause()
            return
        try:
            if not self._pass_on(run) and not self._take(run):
                return
        except Hole as hole:
            if not self._reading.look_for(hole):
                self.decided.set()
            return
        self._timers.enter(now_s := time.monotonic(), self._window.next)
        self._reading.filled(self._window, now_s)

    def _pass_on(self, run: Run) -> bool:
        """Give the run to an executor as it is, if nothing speaks against it.

        Raises:
            Hole: something before it was left out.
        """
        assert self._window is not None
        if self._rules.is_retry or self._cases.deaths:
            return False
        block = self._reading.block(run, self.serial)
        if block is None or not self._window.accept_block(run.start, block):
            return False
        self._shared.step("after_poll")
        self._submitting.block(block)
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
        self._reading.block_came_back()
        if window.block(block.first) is block:
            self._admit(self._read(block), accused)
        elif block.first in self._handed_on:  # read and submitted when it was rewound
            self._handed_on.discard(block.first)
        else:  # some of it failed, so it was read; what failed is with whoever tries it again
            left = set(window.undecided_before(block.next)).difference(
                window.undecided_before(block.first),
                accused,
                self._cases.offsets,
                self._timers.deferrals.offsets,
            )
            self._again(left)

    def _read(self, block: Block) -> Sequence[Raw]:
        """Put a block's records into its place; nobody is asked to compute them here."""
        assert self._window is not None
        records = stored.parse(block.raw)
        self._window.open(block, records)
        return records

    def _admit(self, records: Sequence[Raw], accused: Collection[int] = ()) -> None:
        taken = take_in(self._rules, records, entered_ns=time.monotonic_ns())
        self._cases.add(taken.cases)
        if taken.deadlines:
            self._timers.expire_at(taken.deadlines)
            self._reading.deadlines_were_seen()
        for offset, error in taken.refused:
            self._end(offset, error)
        if taken.due_ms:  # nobody is accused of what was read this moment from a retry topic
            self._timers.wait_until(taken.due_ms, taken.work.offsets)
        elif self._cases.deaths or accused:
            self._try(set(taken.work.offsets).difference(accused))
        else:
            self._submitting.work(taken.work)
        if taken.refused:
            self._signal()

    def _try(self, offsets: set[int]) -> None:
        """Requests that killed an executor before go one by one, or not at all."""
        suspects = sorted(offsets.intersection(self._cases.deaths))
        self._again(offsets.difference(suspects))
        self._judge(suspects, WorkerCrashed)

    def _again(self, offsets: Iterable[int], *, alone: bool = False) -> None:
        assert self._window is not None
        self._submitting.again(self._window, offsets, alone=alone)

    # Answers come back.

    def answer(self, outcomes: Outcomes) -> None:
        """Take one lane's part of a computed batch."""
        window = self._window
        if self.closed or window is None:
            return
        offsets, codes, bodies = outcomes.offsets, outcomes.codes, outcomes.bodies
        left = window.undecided
        self._read_blocks_of(offsets)
        if codes.count(0) == len(codes) and window.are_undecided(offsets):
            if self.journal is not None:
                self.journal.note(outcomes, slice(None))
            window.decide(offsets, bodies)
        else:
            for at, (offset, code, body) in enumerate(zip(offsets, codes, bodies, strict=True)):
                if not window.is_undecided(offset):
                    continue
                if self.journal is not None:
                    self.journal.note(outcomes, slice(at, at + 1))
                if code:
                    self._failed(offset, REQUEST_ERRORS[code - 1], body, outcomes.batch)
                else:
                    window.decide((offset,), (body,))
        self._reading.answered(left - window.undecided)
        self._signal()

    def _read_blocks_of(self, offsets: Iterable[int]) -> None:
        """They are answered one by one after all."""
        assert self._window is not None
        if self._window.has_blocks:
            for block in self._window.blocks_of(offsets):
                self._read(block)

    def defer(self, deferred: Deferred) -> None:
        """No executor may compute these now: they wait, and are submitted again."""
        window = self._window
        if not self.closed and window is not None:
            self._read_blocks_of(deferred.offsets)
            left = filter(window.is_undecided, deferred.offsets)
            self._timers.deferrals.add(deferred, left, _now_ms())

    def answer_block(self, results: Results) -> None:
        """Take all results of a block."""
        window = self._window
        if self.closed or window is None:
            return
        self._reading.block_was_answered()
        if window.decide_block(results.first, results):  # else it was read here meanwhile
            self._reading.answered(results.count)
        self._signal()

    def suspect(self, offsets: list[int], reason: str) -> dict[int, int]:
        """These were being computed when an executor died; their new counts of deaths."""
        assert self._window is not None
        counted = self._cases.accuse(filter(self._window.is_undecided, offsets))
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
            if self._cases.may_be_tried(offset):
                alone.append(offset)
            else:
                self._end(offset, error(f"it ended {self._cases.deaths[offset]} executors"))
        self._again(alone, alone=True)
        self._signal()

    def _failed(
        self, offset: int, kind: type[RequestError], body: bytes, story: BatchStory
    ) -> None:
        assert self._window is not None
        record, failure = self._window.record(offset), _FAILURE.decode(body)
        verdict = self._cases.failed(record, kind, failure, story.ordering, _now_ms())
        if isinstance(verdict, retry.RetryInLane):
            self._timers.try_at(verdict.at_ms, offset)
        else:
            self._window.decide((offset,), (verdict,))

    def _end(self, offset: int, error: RequestError) -> None:
        """Decide a request that no executor answered."""
        assert self._window is not None
        ended = self._cases.ended(self._window.record(offset), error, _now_ms())
        self._window.decide((offset,), (ended,))

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
        executors = self._shared.executors
        due = self._timers.due(now_s, now_ms, executors.paused, executors.turns)
        self._cases.waited(due.waits_ms)
        if due.offsets:
            self._try(due.offsets)
        if executors.available:
            self._timers.got_on(executors.got_on_s(self.serial))
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
            not_due = self._timers.not_due(entered_before_s)
            late = [at for at in self._window.undecided_before(end) if at not in not_due]
            for offset in late:
                self._end(offset, BackendUnavailable("no answer in time"))
            self._shared.executors.withdraw(self.serial, late)

    # The decided prefix goes out.

    def prefix(self, limit: int, size: int = sys.maxsize) -> list[tuple[Entry, Outcome]]:
        return self._window.prefix(limit, size) if self._window else []

    def committed(self, prefix: Sequence[tuple[Entry, Outcome]], now_s: float) -> list[int]:
        """Forget what is committed; returns the offsets whose deaths may be forgotten too."""
        assert self._window is not None
        self._window.drop(len(prefix))
        end = end_of(prefix[-1][0])
        finished = self._cases.close_below(end)
        self._timers.forget_below(end)
        if self.journal is not None:
            self.journal.begin(end)
        self._reading.committed(self._window, now_s, self._timers.waiting)
        self._signal()
        return finished

    def rewind(self, position: int) -> None:
        """After a fence: continue at what is committed."""
        window = self._window
        assert window is not None
        block = window.around(position)
        cut: Sequence[Raw] = () if block is None else self._read(block)
        window.rewind(position)
        if self.journal is not None:
            self.journal.begin(position)
        if block is not None:
            self._handed_on.add(block.first)  # whoever has it will be ignored
            self._admit([record for record in cut if record.offset >= position])
        self._reading.emptied(window)
        self._signal()

    def condemn(self, reason: str) -> None:
        """Go no further: the commit loop halts."""
        self.condemned = reason
        self._reading.pause()
        self.decided.set()

    def close(self) -> None:
        """Take nothing more; what is decided may still be committed."""
        self.closed = True
        self._reading.close()
        self._shared.executors.forget(self.serial)

    @property
    def behind(self) -> bool:
        """Whether there is a backlog, here or on the broker."""
        return self._window is not None and self._reading.is_behind(self._window)

    @property
    def ready(self) -> bool:
        return self._window is not None and self._window.ready

    def _signal(self) -> None:
        if self.ready or self.lost is not None:
            self.decided.set()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
