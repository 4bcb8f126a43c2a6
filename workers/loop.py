"""The executor's loop: take frames, decode, queue, run the next batch, answer.

Queues hold decoded tasks, and works whose requests are taken one by one, as suspects of a crash are.
Everything that has arrived is taken in before a batch is chosen, so that batches form across lanes,
and a fast model's request does not wait behind works of a slow one. What may not be computed now
(its model is paused, none of its tiers takes a call, or the version that is to answer could not be
loaded here) goes back to its lane instead of waiting here: it takes no room of others, is bounded by
its window, and meets whatever answers later. Shadows compute when nothing else is to be done.
`tests/workers/test_pool.py` and `test_executor_deaths.py` run it in its process.
"""

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from chimera.schemas import request_batches, uniform
from chimera.schemas.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    OutOfMemory,
    RequestError,
)
from chimera.schemas.inference import Request
from chimera.schemas.work import Block, Deferred, Failure, Work
from chimera.workers import answers, block_frames, collection, frames, work_frames
from chimera.workers.batching import Piece, Policy, Run, Scheduler, level
from chimera.workers.computation import Computation
from chimera.workers.configuration import Configuration
from chimera.workers.dispatching.tiering import NotNow
from chimera.workers.frames import BrokenFrame, Kind
from chimera.workers.ledger import Ledger
from chimera.workers.link import Link
from chimera.workers.picking import Picks, Places
from chimera.workers.repertoire import Repertoire, Served
from chimera.workers.reporting import Reporting
from chimera.workers.routes import Route, Routes
from chimera.workers.settling import Settling
from chimera.workers.shadowing.mirroring import Mirroring
from chimera.workers.suspects import Board, Doing
from chimera.workers.tasks import NO_EXTRA, Held, Task, name_of

BEAT_S = 1.0  # an idle loop goes round this often, to show that it lives
LACKING_MS = 1_000  # between tries of what waits for a version that was refused here
ONE_BY_ONE = Policy(1)
EXPIRED = "the deadline had passed before it could be computed"
WITHDRAWN = "nobody waits for it any more"


class Loop:
    """Of one executor, in its only thread."""

    def __init__(
        self,
        link: Link,
        board: Board,
        repertoire: Repertoire,
        computation: Computation,
        settling: Settling,
        configuration: Configuration,
        ledger: Ledger | None = None,
    ) -> None:
        """`ledger`: where a journal is written."""
        self._ledger = ledger
        self._link = link
        self._board = board
        self._repertoire = repertoire
        self._routes = Routes(repertoire)
        self._computation = computation
        self._settling = settling
        self._configuration = configuration
        self._paused = frozenset(configuration.orders.paused if configuration.orders else ())
        self._reporting = Reporting(
            configuration.slot,
            link.send,
            repertoire.transitions,
            is_on_cpu=configuration.device == "cpu",
        )
        self._mirroring = Mirroring(board, configuration.shadows, self._reporting.shadows)
        if configuration.orders is not None:
            self._mirroring.follow(repertoire, configuration.orders.shadows)
        self._queues: Scheduler[Served | None, Hashable, Task | Held] = Scheduler()
        self._withdrawn: dict[int, set[int]] = {}  # by lane: offsets that nobody waits for

    def serve(self) -> None:
        """Until the node closes the link.

        Raises:
            Closed: it has.
            DeviceLost: nothing can be computed here any more.
        """
        while True:
            self._board.beat()
            self._take_frames()
            turn = self._queues.next(time.monotonic_ns() // 1000)
            if turn is not None:
                self._compute(turn[1])
            elif self._may_shadow():
                self._mirroring.compute()
            elif self._queues.due_us() is None:
                self._withdrawn.clear()  # nothing here is; what comes later is waited for
            self._reporting.send_due(time.monotonic_ns())

    def _take_frames(self) -> None:
        """All that have arrived; if there is nothing else to do, wait for one."""
        timeout_s = 0 if self._may_shadow() else self._spare_s()
        while (found := self._link.receive(timeout_s)) is not None:
            self._take_frame(*found)
            timeout_s = 0
        for held, index, request in self._settling.settled():
            self._queue(held, range(index, index + 1), [request])

    def _spare_s(self) -> float:
        """Until a batch is due that waits for company."""
        due_us = self._queues.due_us()
        if due_us is None:
            return BEAT_S
        return min(BEAT_S, max(0, due_us - time.monotonic_ns() // 1000) / 1e6)

    def _may_shadow(self) -> bool:
        """Whether a shadow has something to compute, and would be done before live work is due."""
        return bool(self._mirroring) and self._spare_s() > self._mirroring.batch_s

    def _take_frame(self, kind: Kind, body: bytes) -> None:
        if kind is Kind.WORK:
            held = Held(*work_frames.read_work(body))
            if held.work.isolate:
                self._queue_one_by_one(held)
            else:
                self._decode(held)
        elif kind is Kind.BLOCK:
            self._take_block(*block_frames.read_block(body))
        elif kind is Kind.DIRECT:
            self._repertoire.direct(frames.read_traffic(body))
            self._routes.forget()
            self._mirroring.follow(self._repertoire)
        elif kind is Kind.PAUSE:
            self._paused = frames.read_paused(body)
        elif kind is Kind.SHADOW:
            self._mirroring.follow(self._repertoire, frames.read_shadows(body))
        elif kind is Kind.FORGET:
            lane = frames.read_forget(body)
            self._queues.discard(lambda waiting: _lane(waiting) == lane)
        elif kind is Kind.WITHDRAW:
            found = frames.read_withdrawn(body)
            self._withdrawn.setdefault(found.lane, set()).update(found.offsets)
        else:
            raise BrokenFrame(f"an executor takes no {kind.name}")

    def _take_block(self, serial: int, block: Block) -> None:
        found = collection.read(block, self._configuration.max_request_bytes, self._ledger)
        if found is None:
            self._link.send(block_frames.frame_unread(serial))
            return
        held = Held(serial, *found)
        tasks = self._read_as_columns(held)
        if tasks is None:
            self._decode(held)
            return
        for task in tasks:
            served = task.route.served
            run: Run[Task | Held] = Run(task, len(task), 1, held.work.entered_ns // 1000)
            self._queues.add(served, task.route.shape, served.policy, run)

    def _read_as_columns(self, held: Held) -> list[Task] | None:
        """A block's requests, if they are that much alike and a model takes them: one task a version."""
        work = held.work
        self._board.mark(Doing.DECODING, [(work.lane, work.offsets)])
        try:
            found = uniform.read(work.values)
        except MemoryError:  # one by one it may fit
            found = None
        self._board.clear()
        if found is None:
            return None
        first = found[0]
        if first.model in self._paused:
            self._defer(held, work.offsets, first.model)
            return []
        tasks: list[Task] = []
        for version, places in Picks(self._repertoire, work).parts(first.model, first.version):
            route = self._routes.find(first, version)
            if isinstance(route, RequestError) or route.rows != 1 or not route.served.batches:
                return None
            whole = Task(held, route, range(len(found)), work.offsets, found)
            tasks.append(whole if places is None else _of_columns(whole, found, places))
        return tasks

    def _decode(self, held: Held) -> None:
        work = held.work
        indexes = range(len(work.offsets))
        self._board.mark(Doing.DECODING, [(work.lane, work.offsets)])
        found = _decode(work, indexes)
        self._board.clear()
        self._queue(held, indexes, found)

    def _queue(self, held: Held, indexes: range, found: Sequence[Request | RequestError]) -> None:
        """Answer what no model will see, and queue the rest."""
        work = held.work
        for task in self._sort(held, indexes, found):
            if work.isolate:
                self._queues.add(None, (), ONE_BY_ONE, Run(task, 1, 1, work.entered_ns // 1000))
                continue
            served = task.route.served
            run: Run[Task | Held] = Run(
                task, len(task), task.route.rows, work.entered_ns // 1000, level(task.priority)
            )
            self._queues.add(served, task.route.shape, served.policy, run)

    def _sort(
        self, held: Held, indexes: range, found: Sequence[Request | RequestError]
    ) -> list[Task]:
        """Requests by route (and priority, where it counts).

        Errors are answered at once; claim checks are settled first, and come back later.
        """
        work = held.work
        picks = Picks(self._repertoire, work)
        sorted_: dict[tuple[Route, int], tuple[list[int], list[Request]]] = {}
        refused: list[tuple[int, RequestError, Failure]] = []
        later: dict[tuple[str, str], list[int]] = {}  # by model and version
        for index, request in zip(indexes, found, strict=True):
            if isinstance(request, RequestError):
                refused.append((index, request, answers.unread(work, index, request)))
                continue
            if request.model in self._paused:
                later.setdefault((request.model, ""), []).append(work.offsets[index])
                continue
            if request.claims:
                self._settling.settle(held, index, request)
                continue
            version = picks.version(request.model, request.version, index)
            route = self._routes.find(request, version)
            if isinstance(route, RequestError):
                if lacking := self._repertoire.lacking(request.model, version):
                    later.setdefault((request.model, lacking), []).append(work.offsets[index])
                    continue
                failure = Failure(request.model, request.version or "", request.id, str(route))
                refused.append((index, route, failure))
                continue
            priority = 0
            if work.extras and route.served.manifest.ordering == "none":
                priority = int(work.extras.get(index, NO_EXTRA).get("priority", "0"))
            alike = sorted_.get((route, priority))
            if alike is None:
                alike = sorted_[route, priority] = ([], [])
            alike[0].append(index)
            alike[1].append(request)
        if refused:
            self._refuse(held, refused)
        for (model, version), waiting in later.items():
            self._defer(held, waiting, model, version, LACKING_MS if version else 0)
        offsets = work.offsets
        return [
            Task(held, route, places, [offsets[at] for at in places], requests, priority)
            for (route, priority), (places, requests) in sorted_.items()
        ]

    def _queue_one_by_one(self, held: Held) -> None:
        run: Run[Task | Held] = Run(held, len(held.work.offsets), 1, held.work.entered_ns // 1000)
        self._queues.add(None, (), ONE_BY_ONE, run)

    def _compute(self, pieces: list[Piece[Task | Held]]) -> None:
        began_ns = time.thread_time_ns()
        tasks: list[Task] = []
        for carried, start, stop in pieces:
            if isinstance(carried, Task):
                tasks.append(carried.cut(start, stop))
            else:
                tasks += self._decode_alone(carried, start)
        tasks = self._drop_decided(tasks)
        if not tasks:
            return
        manifest = tasks[0].route.served.manifest
        if manifest.name in self._paused:
            for task in tasks:
                self._defer(task.held, task.offsets, manifest.name)
            return
        started_ns = time.monotonic_ns()
        try:
            wanted = tasks[0].route.served in self._mirroring
            batch = self._computation.run(tasks, keep=wanted)
        except NotNow as error:
            for task in tasks:
                self._defer(task.held, task.offsets, manifest.name, manifest.version, error.wait_ms)
            return
        for answered in answers.of_batch(
            tasks, batch, started_ns, self._send_results, self._ledger
        ):
            self._link.send(work_frames.frame_outcomes(answered))
        self._reporting.count(tasks, batch, time.thread_time_ns() - began_ns)
        if batch.kept:
            self._mirroring.offer(batch.kept, batch.tier.name)

    def _defer(
        self, held: Held, offsets: Sequence[int], model: str, version: str = "", wait_ms: int = 0
    ) -> None:
        """Back to their lane."""
        until_ms = time.time_ns() // 1_000_000 + wait_ms if version else 0
        for answered in answers.give_up(held):
            self._link.send(work_frames.frame_outcomes(answered))
        deferred = Deferred(held.work.lane, list(offsets), model, version, until_ms)
        self._link.send(frames.frame_deferred(held.serial, deferred))

    def _send_results(self, held: Held) -> None:
        assert held.collection is not None
        configuration = self._configuration
        results = held.collection.results(configuration.batch_bytes, configuration.compression)
        self._link.send(block_frames.frame_results(held.serial, results))

    def _refuse(self, held: Held, refused: list[tuple[int, RequestError, Failure]]) -> None:
        for answered in (*answers.give_up(held), answers.refusals(held, refused)):
            self._link.send(work_frames.frame_outcomes(answered))

    def _decode_alone(self, held: Held, index: int) -> list[Task]:
        work, indexes = held.work, range(index, index + 1)
        if work.offsets[index] in self._withdrawn.get(work.lane, ()):
            error = BackendUnavailable(WITHDRAWN)
            self._refuse(held, [(index, error, answers.unread(work, index, error))])
            return []
        self._board.mark(Doing.DECODING, [(work.lane, [work.offsets[index]])])
        found = _decode(work, indexes)
        self._board.clear()
        return self._sort(held, indexes, found)

    def _drop_decided(self, tasks: list[Task]) -> list[Task]:
        """Answer those whose deadline has passed, or whom nobody waits for; the others are computed."""
        if not self._withdrawn and not any(task.held.has_deadlines for task in tasks):
            return tasks
        now_ms = time.time_ns() // 1_000_000
        kept: list[Task] = []
        for task in tasks:
            gone = self._withdrawn.get(task.lane, ())
            over: dict[int, RequestError] = {
                at: BackendUnavailable(WITHDRAWN)
                for at, offset in enumerate(task.offsets)
                if offset in gone
            }
            over |= {at: DeadlineExceeded(EXPIRED) for at in task.expired(now_ms)}
            if not over:
                kept.append(task)
                continue
            self._refuse(task.held, _refused(task, over))
            rest = task.pick(sorted(set(range(len(task))).difference(over)))
            if len(rest):
                kept.append(rest)
        return kept


def _refused(
    task: Task, errors: Mapping[int, RequestError]
) -> list[tuple[int, RequestError, Failure]]:
    manifest = task.route.served.manifest
    return [
        (
            task.indexes[at],
            error,
            Failure(manifest.name, manifest.version, task.requests[at].id, str(error)),
        )
        for at, error in errors.items()
    ]


def _decode(work: Work, indexes: range) -> list[Request | RequestError]:
    """Requests of a work; what does not fit into memory together is tried apart."""
    start, stop = indexes.start, indexes.stop
    extras = {at - start: extra for at, extra in work.extras.items() if at in indexes}
    try:
        return request_batches.decode_many(work.values[start:stop], work.heads[start:stop], extras)
    except MemoryError:
        if len(indexes) == 1:
            return [OutOfMemory(f"{name_of(work, start)}: its data do not fit into memory")]
    middle = (start + stop) // 2
    return _decode(work, range(start, middle)) + _decode(work, range(middle, stop))


def _of_columns(whole: Task, columns: uniform.Uniform, places: Places) -> Task:
    indexes: list[int] = places.tolist()
    offsets = [whole.offsets[at] for at in indexes]
    return replace(whole, indexes=indexes, offsets=offsets, requests=columns.take(places))


def _lane(waiting: Task | Held) -> int:
    return waiting.lane if isinstance(waiting, Task) else waiting.work.lane
