"""A row of the journal for a request that its lane has read, and the part that such rows make. Pure.

The executor's note and story say how it was computed; the record says whose it was, how much time
its deadline left, and where it came from first. An error commits to its result record's value, as a
response does; a request that will be tried again on a retry topic has none yet.
`tests/agents/test_journal.py`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import structs

from chimera.agents.lanes.outcomes import Error, Later, Outcome
from chimera.schemas import headers as names
from chimera.schemas.columns import numbers
from chimera.schemas.journal_rows import NO_COMMITMENT, NO_SLACK, OK, RETRY, Group, Rows, write_part
from chimera.schemas.model_names import DEFAULT_TENANT
from chimera.schemas.notes import Note
from chimera.schemas.stored import Stored
from chimera.schemas.withheld import Withheld
from chimera.schemas.work import BatchStory
from chimera.topics.dead_letters import MAX_DIGITS, split
from chimera.topics.request_headers import TEXT_BYTES
from chimera.workers.ledger import group_of
from chimera.workers.tenant_keys import TenantKeys

NOT_COMPUTED = BatchStory("", "", "", "", 0, 0)  # no executor has answered


class Row(NamedTuple):
    """Columns of `schemas.journal_rows.Rows`, but for what stands in a part's table."""

    offset: int
    group: Group
    outcome: str
    appended_ms: int
    input_bytes: int
    output_bytes: int
    slack_ms: int
    attempt: int
    id: bytes
    origin: bytes
    input_commitment: bytes
    output_commitment: bytes


class Told(NamedTuple):
    """What an executor said of a request, the last one that answered it."""

    note: Note = Note()
    story: BatchStory = NOT_COMPUTED


def row_of(
    record: Stored,
    outcome: Outcome,
    value: bytes,
    told: Told,
    attempt: int,
    keys: TenantKeys,
    *,
    is_retry: bool,
    now_ms: int,
) -> Row:
    """`value`: of the result record, empty if there is none yet; `attempt`: failures so far."""
    note, origin, original = told.note, b"", record.headers
    if is_retry:
        original, story = split(record.headers)
        first = story.origin
        origin = f"{first.topic}:{first.partition}:{first.offset}".encode()
        attempt = max(attempt, story.failure.attempt)
    headers = dict(original)
    tenant = _text(headers.get(names.TENANT)) or DEFAULT_TENANT
    group = group_of(told.story, note.queue_us, note.total_us, tenant)
    error = outcome.error if isinstance(outcome, Later) else outcome
    if isinstance(error, Error):
        attempt = error.case.attempt - 1  # its own failure is the last of them
        if error.model != group.model:
            group = Group(tenant, error.model)
        note = _committed(note._replace(id=(error.id or "").encode()), record, value, tenant, keys)
    if note.commitment_key:
        group = structs.replace(group, commitment_key=note.commitment_key.hex())
    return Row(
        record.offset,
        group,
        _outcome(outcome),
        record.timestamp,
        len(record.value or b""),
        len(value),
        _slack_ms(headers.get(names.DEADLINE), now_ms),
        attempt,
        note.id,
        origin,
        note.input_commitment,
        note.output_commitment,
    )


def part_of(rows: Sequence[Row]) -> bytes:
    """One part; ascending offsets, at least one row and at most `PART_ROWS`."""
    groups = list(dict.fromkeys(row.group for row in rows))
    outcomes = list(dict.fromkeys(row.outcome for row in rows))
    group_at = {group: at for at, group in enumerate(groups)}
    outcome_at = {outcome: at for at, outcome in enumerate(outcomes)}
    is_committed = any(row.input_commitment or row.output_commitment for row in rows)
    return write_part(
        Rows(
            tuple(groups),
            tuple(outcomes),
            numbers([row.offset for row in rows]),
            numbers([group_at[row.group] for row in rows]),
            numbers([outcome_at[row.outcome] for row in rows]),
            numbers([row.appended_ms for row in rows]),
            numbers([row.input_bytes for row in rows]),
            numbers([row.output_bytes for row in rows]),
            numbers([row.slack_ms for row in rows]),
            numbers([row.attempt for row in rows]),
            [row.id for row in rows],
            [row.origin for row in rows] if any(row.origin for row in rows) else (),
            _joined([row.input_commitment for row in rows]) if is_committed else b"",
            _joined([row.output_commitment for row in rows]) if is_committed else b"",
        )
    )


def _committed(note: Note, record: Stored, value: bytes, tenant: str, keys: TenantKeys) -> Note:
    commitments = keys.of(tenant)
    if commitments is None:
        return note._replace(input_commitment=b"", output_commitment=b"", commitment_key=b"")
    is_known = not isinstance(record, Withheld)  # else nobody has seen what was asked
    return note._replace(
        input_commitment=commitments.of(record.value or b"") if is_known else b"",
        output_commitment=commitments.of(value) if value else b"",
        commitment_key=commitments.key_id,
    )


def _outcome(outcome: Outcome) -> str:
    if isinstance(outcome, Later):
        return RETRY
    return outcome.code if isinstance(outcome, Error) else OK


def _joined(commitments: Sequence[bytes]) -> bytes:
    return b"".join([one or NO_COMMITMENT for one in commitments])


def _text(raw: bytes | None) -> str:
    return "" if raw is None or len(raw) > TEXT_BYTES else raw.decode("utf-8", "replace")


def _slack_ms(deadline: bytes | None, now_ms: int) -> int:
    if not deadline or not deadline.isdigit() or len(deadline) > MAX_DIGITS:
        return NO_SLACK
    return max(-NO_SLACK, min(NO_SLACK - 1, int(deadline) - now_ms))
