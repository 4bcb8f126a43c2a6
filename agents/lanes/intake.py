"""From a run of records to the work of executors: header checks, before anything is decoded. Pure.

Most records have no headers that matter and cost little here. A record that cannot be served is
returned as refused, with the error that its caller will read.
`tests/agents/test_intake.py` holds each refusal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from chimera.agents.lanes.outcomes import Case, plain_case
from chimera.schemas.batches import ENVELOPE_BYTES
from chimera.schemas.errors import DeadlineExceeded, Malformed, RequestError, TooLarge
from chimera.schemas.serving_settings import ServingSettings
from chimera.schemas.stored import MOST_BYTES
from chimera.schemas.stored import Stored as Raw
from chimera.schemas.withheld import Withheld
from chimera.schemas.work import Work
from chimera.topics import dead_letters, request_headers
from chimera.topics.request_headers import RequestHeaders


@dataclass(slots=True)
class Intake:
    """A run, sorted: what goes to executors, what is refused, what has a deadline."""

    work: Work
    refused: list[tuple[int, RequestError]] = field(default_factory=list[tuple[int, RequestError]])
    deadlines: list[tuple[int, int]] = field(
        default_factory=list[tuple[int, int]]
    )  # (epoch ms, offset)
    cases: dict[int, Case] = field(
        default_factory=dict[int, Case]
    )  # of retry topics' records, and refused
    due_ms: int = 0  # retry topics: the latest time before which none may be tried


@dataclass(frozen=True, slots=True)
class Rules:
    """Of one lane; see the settings of the same names."""

    topic: str
    partition: int
    lane: int
    is_retry: bool
    max_request_bytes: int
    deadline_tolerance_ms: int

    @classmethod
    def of(
        cls, serving: ServingSettings, topic: str, partition: int, lane: int, *, is_retry: bool
    ) -> "Rules":
        limits = serving.max_request_bytes, serving.deadline_tolerance_ms
        return cls(topic, partition, lane, is_retry, *limits)


def take_in(
    rules: Rules, records: Sequence[Raw], *, entered_ns: int, isolate: bool = False
) -> Intake:
    """Sort `records` of one partition, in offset order.

    A request that expired before the broker appended it is refused. One that has expired since is left
    in the work: the executor answers it without computing, unless the lane's own clock is first.
    """
    offsets: list[int] = []
    values: list[bytes] = []
    heads: list[int] = []
    deadlines: list[int] = []
    work = Work(
        rules.lane,
        rules.topic,
        rules.partition,
        offsets,
        values,
        heads,
        deadlines,
        {},
        entered_ns,
        isolate,
    )
    taken = Intake(work)
    limit = rules.max_request_bytes
    for record in records:
        value = record.value
        head, deadline_ms = -1, 0
        plain = value is not None and len(value) <= limit and not rules.is_retry
        if not plain or record.headers or len(record.key or b"") > ENVELOPE_BYTES:
            try:
                found, extras = _examine(rules, record, taken)
                deadline_ms = _deadline(rules, record, found, taken)
            except RequestError as error:
                taken.refused.append((record.offset, error))
                continue
            head = found.head_length
            if extras:
                work.extras[len(offsets)] = extras
        offsets.append(record.offset)
        values.append(value or b"")
        heads.append(head)
        deadlines.append(deadline_ms)
    return taken


def _examine(rules: Rules, record: Raw, taken: Intake) -> tuple[RequestHeaders, dict[str, str]]:
    if isinstance(record, Withheld):
        raise TooLarge(
            f"its batch is compressed and would take more than {MOST_BYTES} bytes of memory, alone "
            "or with those around it: send smaller batches"
        )
    headers = record.headers
    extras: dict[str, str] = {}
    if rules.is_retry:
        original, story = dead_letters.split(headers)
        taken.cases[record.offset] = Case(
            story.origin, original, story.failure.attempt, story.failure.first_failure_ms
        )
        taken.due_ms = max(taken.due_ms, story.not_before_ms)
        origin = story.origin
        extras["origin"] = f"{origin.topic}:{origin.partition}:{origin.offset}"
        headers = original
    found = request_headers.parse(headers)
    request_headers.require_size(record.key, record.value, headers, rules.max_request_bytes)
    if record.value is None:
        raise Malformed("the record has no value")
    return found, extras | (found.extras or {})


def _deadline(rules: Rules, record: Raw, found: RequestHeaders, taken: Intake) -> int:
    """When the request expires; 0: never. Raises DeadlineExceeded: it came late."""
    expires_ms = request_headers.expires_ms(found.deadline_ms, rules.deadline_tolerance_ms)
    if expires_ms:
        taken.deadlines.append((expires_ms, record.offset))
        if request_headers.came_late(expires_ms, record.timestamp):
            raise DeadlineExceeded(f"the deadline {expires_ms} had passed when the request came")
    return expires_ms


def case_of(rules: Rules, record: Raw) -> Case:
    """The case of a record for which none was kept: a plain request."""
    return plain_case(rules.topic, rules.partition, record)
