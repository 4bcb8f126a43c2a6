"""Answers of a batch on their way back: one lane's share in one frame, ready for the wire.

Those of a block wait in its collection until all are there.

`tests/workers/test_answers.py` reads the frames and the records in them.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from chimera.schemas.errors import REQUEST_ERRORS, RequestError
from chimera.schemas.notes import Note
from chimera.schemas.request_heads import identify
from chimera.schemas.responses import Plain, Response
from chimera.schemas.uniform import Uniform
from chimera.schemas.work import BatchStory, Failure, Outcomes, Work
from chimera.workers.computation import Answers, Batch
from chimera.workers.ledger import Ledger, group_of
from chimera.workers.results import Coordinates, Lot, Tails, Told, coordinates
from chimera.workers.tasks import NO_EXTRA, Held, Task
from chimera.workers.work_frames import Answered

FRAME_BYTES = 8 << 20  # a lane's share of a batch goes out in pieces of about so much

_CODE = {error: index + 1 for index, error in enumerate(REQUEST_ERRORS)}
_FAILURE = msgspec.json.Encoder()
_NOT_COMPUTED = BatchStory("", "", "", "", 0, 0)


def unread(work: Work, index: int, error: RequestError) -> Failure:
    """The failure of a request that is none, with as much of id and model as its bytes tell."""
    named = identify(work.values[index], work.heads[index])
    model = named.model_name or work.extras.get(index, NO_EXTRA).get("model", "")
    return Failure(model, "", named.id, str(error))


def refusals(held: Held, refused: Sequence[tuple[int, RequestError, Failure]]) -> Answered:
    """Requests of a work, by index, that no model saw."""
    offsets = [held.work.offsets[index] for index, _, _ in refused]
    codes = bytes([_CODE[type(error)] for _, error, _ in refused])
    bodies = [_FAILURE.encode(failure) for _, _, failure in refused]
    outcomes = Outcomes(held.work.lane, offsets, codes, bodies, _NOT_COMPUTED)
    return Answered(outcomes, [(held.serial, len(refused))])


def give_up(held: Held) -> Iterator[Answered]:
    """A block whose results do not wait for each other any more: those that did."""
    collection, held.collection = held.collection, None
    if collection is None or not collection.stories:
        return
    for number, story in enumerate(collection.stories):
        places = collection.places(number)
        bodies = [tail for at in places if (tail := collection.tails[at]) is not None]
        for start, stop, _ in _stretches(bodies):
            offsets = [held.work.offsets[at] for at in places[start:stop]]
            notes: list[bytes] = []
            if collection.pages is not None:
                notes = [collection.pages.note(at, number) for at in places[start:stop]]
            outcomes = Outcomes(
                held.work.lane, offsets, bytes(stop - start), bodies[start:stop], story, notes
            )
            yield Answered(outcomes, [(held.serial, stop - start)])
            story = replace(story, is_first=False)


def of_batch(
    tasks: Sequence[Task],
    batch: Batch,
    started_ns: int,
    complete: Callable[[Held], None],
    ledger: Ledger | None = None,
) -> Iterator[Answered]:
    """Each lane's share of a batch that began at `started_ns`; a block's results wait for others.

    `complete` gets each block that has all of them now; `ledger`: where a journal is written.
    """
    lanes: dict[int, list[tuple[Task, Answers]]] = {}
    for task, answers in zip(tasks, batch.answers, strict=True):
        lanes.setdefault(task.lane, []).append((task, answers))
    served = tasks[0].route.served
    manifest = served.manifest
    oldest_ns = min(task.held.work.entered_ns for task in tasks)
    is_first = True
    for lane, shares in lanes.items():
        story = BatchStory(
            manifest.name,
            manifest.version,
            served.digest,
            batch.tier.name,
            batch.rows,
            batch.compute_us,
            max(0, started_ns - oldest_ns) // 1000,
            manifest.ordering,
            is_first,
            "" if ledger is None else ledger.slot,
        )
        is_first = False
        yield from _of_lane(lane, shares, (story, batch.tier.tails, ledger), started_ns, complete)


def _of_lane(
    lane: int,
    shares: Iterable[tuple[Task, Answers]],
    common: tuple[BatchStory, Tails, Ledger | None],
    started_ns: int,
    complete: Callable[[Held], None],
) -> Iterator[Answered]:
    story, tails, ledger = common
    frame = _Frame(lane, story)
    for task, answers in shares:
        held = task.held
        told = _told(held.work, story, started_ns)
        codes, bodies = _bodies(task, answers, Lot(tails.batch(told)))
        if held.collection is not None:
            began_ns = held.collection.began_ns = held.collection.began_ns or started_ns
            waited_ns = time.monotonic_ns() - began_ns
            size = sum(map(len, bodies))
            if not any(codes) and held.collection.may_wait(len(bodies), size, waited_ns):
                held.collection.add(task.indexes, bodies, size, frame.story)
                if held.collection.pages is not None:
                    group = group_of(story, told.queue_us, told.total_us)
                    held.collection.pages.add(task.indexes, group, _ids(task), _plain(answers))
                frame.story = replace(story, is_first=False)
                if not held.collection.left:
                    complete(held)
                continue
            yield from give_up(held)
        notes: list[bytes] = []
        if ledger is not None:
            note = Note(told.queue_us, told.total_us)
            notes = ledger.notes(held.work, task.indexes, note, _ids(task), _values(answers))
        for start, stop, size in _stretches(bodies):
            if frame.size + size > FRAME_BYTES and frame.parts:
                yield frame.answered()
                frame = _Frame(lane, replace(story, is_first=False))
            frame.offsets += task.offsets[start:stop]
            frame.codes += codes[start:stop]
            frame.bodies += bodies[start:stop]
            frame.notes += notes[start:stop]
            frame.parts.append((held.serial, stop - start))
            frame.size += size
    if frame.parts:
        yield frame.answered()


@dataclass(slots=True)
class _Frame:
    """Outcomes while they are collected."""

    lane: int
    story: BatchStory
    offsets: list[int] = field(default_factory=list[int])
    codes: bytearray = field(default_factory=bytearray)
    bodies: list[bytes] = field(default_factory=list[bytes])
    notes: list[bytes] = field(default_factory=list[bytes])
    parts: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    size: int = 0

    def answered(self) -> Answered:
        codes = bytes(self.codes)
        outcomes = Outcomes(self.lane, self.offsets, codes, self.bodies, self.story, self.notes)
        return Answered(outcomes, self.parts)


def _stretches(bodies: Sequence[bytes]) -> Iterator[tuple[int, int, int]]:
    """Start, stop and bytes of stretches that a frame can hold."""
    start = size = 0
    for at, body in enumerate(bodies):
        if at > start and size + len(body) > FRAME_BYTES:
            yield start, at, size
            start, size = at, 0
        size += len(body)
    yield start, len(bodies), size


def _told(work: Work, story: BatchStory, started_ns: int) -> Told:
    return Told(
        story.size,
        max(0, started_ns - work.entered_ns) // 1000,
        story.compute_us,
        max(0, time.monotonic_ns() - work.entered_ns) // 1000,
    )


def _bodies(task: Task, answers: Answers, lot: Lot) -> tuple[bytes, list[bytes]]:
    work = task.held.work
    if isinstance(answers, Plain):
        where = Coordinates(work.topic, work.partition)
        return bytes(len(answers)), lot.plain(where, task.offsets, answers)
    if not work.extras:
        plain = [answer[0] for answer in answers if type(answer) is Response and answer[1] < 0]
        if len(plain) == len(answers):
            where = Coordinates(work.topic, work.partition)
            return bytes(len(plain)), lot.plain(where, task.offsets, Plain.of(plain))
    codes = bytearray()
    bodies: list[bytes] = []
    for at, answer in enumerate(answers):
        if isinstance(answer, RequestError):
            codes.append(_CODE[type(answer)])
            bodies.append(_FAILURE.encode(_failure(task, at, answer)))
            continue
        extra = work.extras.get(task.indexes[at], NO_EXTRA)
        where, offset = coordinates(work.topic, work.partition, task.offsets[at], extra)
        codes.append(0)
        bodies.append(lot.one(where, offset, answer, extra.get("traceparent")))
    return bytes(codes), bodies


def _ids(task: Task) -> Sequence[bytes]:
    requests = task.requests
    if isinstance(requests, Uniform):
        return requests.ids
    return [name.encode() for name in task.names]


def _plain(answers: Answers) -> Plain:
    return answers if isinstance(answers, Plain) else Plain.of(_values(answers))


def _values(answers: Answers) -> list[bytes]:
    """Of responses; empty for errors, whose records their lane writes."""
    if isinstance(answers, Plain):
        return answers.values
    return [b"" if isinstance(answer, RequestError) else answer.value for answer in answers]


def _failure(task: Task, at: int, error: RequestError) -> Failure:
    manifest = task.route.served.manifest
    return Failure(manifest.name, manifest.version, task.requests[at].id, str(error))
