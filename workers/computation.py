"""One batch through its model: stack, run, encode; and who is to blame when that fails.

A batch that its model refuses, or that does not fit into memory, is halved until the culprits are
alone: they get the error, all others their results. What is being computed stands on the board, so
that the same can be found out after a death. `tests/workers/test_computation.py`.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from chimera.schemas.errors import DeadlineExceeded, ModelFailed, OutOfMemory, RequestError
from chimera.schemas.responses import (
    Computed,
    Output,
    Plain,
    Response,
    encode,
    encode_many,
    encode_plain,
)
from chimera.schemas.tensors import Array, stack
from chimera.schemas.uniform import Uniform
from chimera.workers.backends.protocol import Backend, DeviceLost
from chimera.workers.dispatching.deadlines import NO_DEADLINES, Deadlines
from chimera.workers.dispatching.tiering import Attempt, Tier
from chimera.workers.repertoire import Served
from chimera.workers.suspects import Board, Doing
from chimera.workers.tasks import Task, halves, name_of

Answer = Response | RequestError


Answers = list[Answer] | Plain


class Kept(NamedTuple):
    """One call of a backend that computed: a batch, or a part of one that was halved."""

    tasks: Sequence[Task]
    inputs: Sequence[Array]
    outputs: Sequence[Array]
    answers: Answers  # some of them errors: a result may be too large, say


class Batch(NamedTuple):
    """A computed batch: answers of each task, in the tasks' order."""

    answers: list[Answers]
    rows: int
    compute_us: int
    tier: Tier
    kept: Sequence[Kept] = ()


class Computation:
    """Of one executor."""

    def __init__(self, board: Board, max_result_bytes: int) -> None:
        self._board = board
        self._max_result_bytes = max_result_bytes
        self._computing_ns = 0
        self._kept: list[Kept] | None = None

    def run(self, tasks: Sequence[Task], *, keep: bool = False) -> Batch:
        """Compute tasks of one model and one shape together; `keep` what went in and came out.

        Raises:
            DeviceLost: the executor has to end; the board shows with whom.
            NotNow: none of the model's tiers takes a call now.
        """
        self._computing_ns = 0
        rows = sum(len(task) * task.route.rows for task in tasks)
        count = sum(map(len, tasks))
        made: list[tuple[Tier, Answers, Sequence[Kept]]] = []

        def attempt(tier: Tier) -> Attempt:
            before_ns = self._computing_ns
            kept = self._kept = [] if keep else None
            made.append((tier, self._answers(tasks, tier), kept or ()))
            computed, error = _told(made[-1][1])
            took_us = (self._computing_ns - before_ns) // 1000
            is_refused = not computed and isinstance(error, ModelFailed)
            first = name_of(tasks[0].held.work, tasks[0].indexes[0]) if is_refused else None
            return Attempt(count, computed, error, took_us, first)

        tiers = tasks[0].route.served.tiers
        why = tiers.compute(rows, attempt, _deadlines(tasks))
        self._board.clear()
        self._kept = None
        if why is DeadlineExceeded:
            late = DeadlineExceeded("the deadline passed before a tier computed it")
            nobody_waits: Answers = [late for _ in range(count)]
            made = [(tiers.first, nobody_waits, ())]
        # the first, if none computed
        tier, found, kept = max(made, key=lambda one: _told(one[1])[0])
        answers: list[Answers] = []
        start = 0
        for task in tasks:
            stop = start + len(task)
            answers.append(found[start:stop])
            start = stop
        return Batch(answers, rows, self._computing_ns // 1000, tier, kept)

    def _answers(self, tasks: Sequence[Task], tier: Tier) -> Answers:
        """Answers to all of them, in order; halves the batch as often as it takes."""
        lanes = [(task.lane, task.offsets) for task in tasks]
        self._board.mark(Doing.COMPUTING, lanes, tasks[0].route.served.name, tier.name)
        try:
            return self._compute(tasks, tier.backend)
        except DeviceLost:
            raise
        except (MemoryError, OutOfMemory) as error:
            failure: RequestError = OutOfMemory(str(error) or "the request does not fit")
        except Exception as error:  # noqa: BLE001  # a model may raise anything; it becomes an outcome
            known = isinstance(error, RequestError)
            failure = ModelFailed(str(error) if known else f"{type(error).__name__}: {error}")
        if sum(map(len, tasks)) == 1:
            return [failure]
        first, second = halves(tasks)
        return [*one_by_one(self._answers(first, tier)), *one_by_one(self._answers(second, tier))]

    def _compute(self, tasks: Sequence[Task], backend: Backend) -> Answers:
        served = tasks[0].route.served
        manifest = served.manifest
        inputs = _inputs(served, tasks)
        started_ns = time.monotonic_ns()
        try:
            arrays = backend.run(inputs)
        finally:
            self._computing_ns += time.monotonic_ns() - started_ns
        computed = Computed(
            manifest.name,
            manifest.version,
            tuple(
                [
                    Output(spec.name, spec.datatype, array)
                    for spec, array in zip(manifest.outputs, arrays, strict=True)
                ]
            ),
        )
        answers = self._encode(computed, tasks, served.batches)
        if self._kept is not None:
            self._kept.append(Kept(tasks, inputs, arrays, answers))
        return answers

    def _encode(self, computed: Computed, tasks: Sequence[Task], batches: bool) -> Answers:
        uniform = _uniform(tasks)
        if uniform and batches and all(one.is_plain for one in uniform):
            ids = [name for one in uniform for name in one.ids]
            plain = encode_plain(computed, ids, limit_bytes=self._max_result_bytes)
            if plain is not None:
                return plain
        requests = [request for task in tasks for request in task.requests]
        names = [name for task in tasks for name in task.names]
        limit = self._max_result_bytes
        if batches:
            rows = [task.route.rows for task in tasks for _ in task.offsets]
            return list(encode_many(computed, requests, names, rows, limit_bytes=limit))
        try:
            return [encode(computed, requests[0], names[0], limit_bytes=limit)]
        except RequestError as error:
            return [error]


def _deadlines(tasks: Sequence[Task]) -> Deadlines:
    """Mostly there is none."""
    if not any(task.held.has_deadlines for task in tasks):
        return NO_DEADLINES
    found = [task.held.work.deadlines[index] for task in tasks for index in task.indexes]
    return Deadlines(found, time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000)


def _told(answers: Answers) -> tuple[int, BaseException | None]:
    """How many were computed, and the first error of the others."""
    if isinstance(answers, Plain):
        return len(answers), None
    errors = [answer for answer in answers if isinstance(answer, RequestError)]
    return len(answers) - len(errors), errors[0] if errors else None


def one_by_one(answers: Answers) -> list[Answer]:
    """An answer for each, however they came."""
    return [Response(value) for value in answers.values] if isinstance(answers, Plain) else answers


def _uniform(tasks: Sequence[Task]) -> list[Uniform]:
    """The tasks' requests, of one row each, if those of all tasks were read as columns."""
    found = [task.requests for task in tasks if isinstance(task.requests, Uniform)]
    return found if len(found) == len(tasks) and tasks[0].route.rows == 1 else []


def _inputs(served: Served, tasks: Sequence[Task]) -> list[Array]:
    """The model's inputs: each request's rows, one after the other."""
    names = [spec.name for spec in served.manifest.inputs]
    if served.batches and (uniform := _uniform(tasks)):
        arrays = [one.rows for one in uniform]
        return [arrays[0] if len(arrays) == 1 else np.concatenate(arrays)]
    if not served.batches:
        request = tasks[0].requests[0]
        return [request.inputs[name].array for name in names]
    return [
        stack([request.inputs[name] for task in tasks for request in task.requests])
        for name in names
    ]
