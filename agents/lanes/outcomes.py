"""Outcomes, and the records that make them visible: results, dead letters, retries. Pure.

Every request of a window's prefix becomes exactly one record in `inference.results`, except one that
climbs the retry ladder: it becomes one record there and gets its result later. A dead letter is a
copy for operators. All go to the partition number that the request came from.
`tests/agents/test_outcomes.py` reads the composed records back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chimera.schemas import headers as names
from chimera.schemas.batches import (
    BATCH_BYTES,
    ENVELOPE_BYTES,
    FRAMING_BYTES,
    Compression,
    encode_all,
)
from chimera.schemas.errors import BY_CODE
from chimera.schemas.headers import headers
from chimera.schemas.responses import encode_error
from chimera.schemas.stored import Stored as Raw
from chimera.schemas.withheld import Withheld
from chimera.schemas.work import Block, Results
from chimera.topics import dead_letters
from chimera.topics.catalogue import Catalogue, Topic
from chimera.topics.dead_letters import Copy, Failure, Origin, Story
from chimera.topics.producers import Produced


@dataclass(slots=True)
class Case:
    """What a lane knows of a request beyond its record: it came from a retry topic, or failed."""

    origin: Origin
    original: list[tuple[str, bytes | None]]  # headers without any story
    attempt: int = 0
    first_failure_ms: int = 0
    entered_ms: int = 0
    waited_ms: int = 0  # while no executor might compute it: counts for no limit but the caller's
    deadline_ms: int = 0
    deaths: int = 0


@dataclass(frozen=True, slots=True)
class Error:
    """The request ends here, with this code."""

    code: str
    message: str
    case: Case
    model: str = ""
    id: str | None = None
    version: str = ""  # that failed, or that was asked for; empty: neither is known
    is_answer: bool = False  # of an executor; else the lane's own


@dataclass(frozen=True, slots=True)
class Later:
    """The request goes to a retry topic, to be tried again not before a time."""

    rung: int
    not_before_ms: int
    error: Error


Record = tuple[bytes | None, bytes]
"""A record's key and its tail: value and headers."""

Outcome = bytes | Error | Later | Results
"""`bytes`: the tail of a response, ready for the wire. `Results`: of a block, as a whole."""

Entry = Raw | Block
"""What a window holds, and has an outcome."""


def end_of(entry: Entry) -> int:
    """The offset that follows it."""
    return entry.next if isinstance(entry, Block) else entry.offset + 1


def count_of(entry: Entry) -> int:
    """Records in it."""
    return entry.count if isinstance(entry, Block) else 1


def appended_ms(entry: Entry) -> int:
    """When its first record was appended or made, epoch."""
    return entry.first_ms if isinstance(entry, Block) else entry.timestamp


def code_of(outcome: Outcome) -> str:
    """How outcomes are counted: by an error's code, as `retry`, or `ok`."""
    if isinstance(outcome, Error):
        return outcome.code
    return "retry" if isinstance(outcome, Later) else "ok"


def size_of(outcome: Outcome) -> int:
    """Bytes that it keeps until it is committed; an error's dead letter is its request."""
    if isinstance(outcome, bytes):
        return len(outcome)
    if isinstance(outcome, Results):
        return sum(len(batch.body) for batch in outcome.batches) + len(outcome.rows)
    return 0


class Pages(Protocol):
    """Of the journal: what a window's entries are told to, in order."""

    def block(self, results: Results) -> None: ...
    def row(self, record: Raw, outcome: Outcome, tail: bytes) -> None: ...
    def segments(self, end: int, requests: int) -> list[Produced]: ...


class Composer:
    """Turns the decided prefix of one lane into what its transaction produces."""

    def __init__(
        self, catalogue: Catalogue, partition: int, compression: Compression = "none"
    ) -> None:
        """`compression` is of what is composed here; blocks' results come as they are."""
        self._catalogue = catalogue
        self._partition = partition
        self._compression: Compression = compression

    def compose(
        self, prefix: Sequence[tuple[Entry, Outcome]], journal: Pages | None = None
    ) -> list[Produced]:
        """Batches of every topic that the prefix touches, results first, the journal last."""
        batches: list[Produced] = []
        results: list[Record] = []
        others: dict[Topic, list[Record]] = {}
        for record, outcome in prefix:
            if isinstance(outcome, Results):
                batches += self._batches(self._catalogue.results, results)
                results = []
                name = self._catalogue.results.name
                batches += [Produced(name, self._partition, one) for one in outcome.batches]
                if journal is not None:
                    journal.block(outcome)
                continue
            assert not isinstance(record, Block), "a block has one outcome"
            tail = b""
            if type(outcome) is bytes:
                tail = outcome
                results.append((record.key, tail))
            elif isinstance(outcome, Later):
                topic = self._catalogue.retries[outcome.rung]
                others.setdefault(topic, []).append(_retry(record, outcome))
            elif isinstance(outcome, Error):
                tail = error_tail(outcome)
                results.append((_result_key(record.key), tail))
                topic = self._catalogue.dead_letters
                letter = _dead_letter(record, outcome, topic.max_message_bytes)
                others.setdefault(topic, []).append(letter)
            if journal is not None:
                journal.row(record, outcome, tail)
        batches += self._batches(self._catalogue.results, results)
        for topic, records in others.items():
            batches += self._batches(topic, records)
        if journal is not None:
            requests = sum(count_of(entry) for entry, _ in prefix)
            batches += journal.segments(end_of(prefix[-1][0]), requests)
        return batches

    def _batches(self, topic: Topic, records: list[Record]) -> list[Produced]:
        together = min(BATCH_BYTES, topic.max_message_bytes - FRAMING_BYTES)
        keys = [key for key, _ in records]
        tails = [tail for _, tail in records]
        batches = encode_all(keys, tails, together, self._compression)
        return [Produced(topic.name, self._partition, batch) for batch in batches]


def error_tail(error: Error) -> bytes:
    """The result record of a failed request: value and headers."""
    origin = error.case.origin
    name = f"{origin.topic}:{origin.partition}:{origin.offset}"
    value = encode_error(
        error.model, name if error.id is None else error.id, BY_CODE[error.code](error.message)
    )
    found = dict(error.case.original)
    generation = found.get(names.GENERATION) or b"0"
    pairs = [
        (names.CE_SPECVERSION, b"1.0"),
        (names.CE_TYPE, names.ERROR_TYPE.encode()),
        (names.CE_SOURCE, f"/chimera/models/{error.model}".encode()),
        (names.CE_ID, name.encode() + b":" + generation),
        (names.CONTENT_TYPE, b"application/json"),
        (names.REQUEST_TOPIC, origin.topic.encode()),
        (names.REQUEST_PARTITION, b"%d" % origin.partition),
        (names.REQUEST_OFFSET, b"%d" % origin.offset),
        (names.ERROR_CODE, error.code.encode()),
    ]
    if trace := found.get(names.TRACEPARENT):
        pairs.append((names.TRACEPARENT, trace))
    return names.tail(value, len(pairs), headers(pairs))


def _failure(error: Error) -> Failure:
    case = error.case
    return Failure(error.code, error.message, case.attempt, case.first_failure_ms)


def _original(record: Raw, case: Case) -> Copy:
    return Copy(record.key, record.value, case.original, is_known=not isinstance(record, Withheld))


def _dead_letter(record: Raw, error: Error, limit_bytes: int) -> Record:
    original = _original(record, error.case)
    letter = dead_letters.dead_letter(original, error.case.origin, _failure(error), limit_bytes)
    return _encoded(letter)


def _retry(record: Raw, later: Later) -> Record:
    case = later.error.case
    story = Story(case.origin, _failure(later.error), later.not_before_ms)
    return _encoded(dead_letters.retry(_original(record, case), story))


def _encoded(copy: Copy) -> Record:
    return copy.key, names.tail(copy.value, len(copy.headers), headers(copy.headers))


def _result_key(key: bytes | None) -> bytes | None:
    """The request's own, unless it was compressed on its way in and is too large to repeat."""
    return None if key is not None and len(key) > ENVELOPE_BYTES else key


def plain_case(topic: str, partition: int, record: Raw) -> Case:
    """The case of a request that came straight from its producer."""
    origin = Origin(topic, partition, record.offset, record.timestamp)
    return Case(origin, list(record.headers))
