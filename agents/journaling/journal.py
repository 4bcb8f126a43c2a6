"""The journal of one lane: what becomes of each request of a window, as segments in its transaction.

    blocks            their rows come finished from the executor, and go on as they are
    single requests   the executor's note is kept until they are committed, and becomes a row then

A request that goes to a retry topic has a row here, with the outcome `retry`, and another one there.
`tests/agents/test_journal.py`, and with a node on a real broker `tests/integration/test_journal.py`.
"""

import time
from itertools import repeat

from msgspec import structs

from chimera.agents.journaling.journal_rows import Row, Told, part_of, row_of
from chimera.agents.lanes.cases import Cases
from chimera.agents.lanes.outcomes import Outcome
from chimera.schemas import headers
from chimera.schemas.batches import FRAMING_BYTES, encode
from chimera.schemas.journal import SegmentHead, encode_segments, framed, key
from chimera.schemas.journal_rows import PART_ROWS
from chimera.schemas.notes import Note, read_note
from chimera.schemas.stored import Stored
from chimera.schemas.work import BatchStory, Outcomes, Results
from chimera.topics.catalogue import Topic
from chimera.topics.producers import Produced
from chimera.workers.tenant_keys import TenantKeys

KEY_BYTES = 512  # of a segment, at most: a topic's name and a partition

Answered = tuple[bytes, BatchStory]
"""An executor's note of a request, not read yet, and the story of its batch."""


class Journal:
    """Of one lane. A window at a time: `block` and `row` in offset order, then `segments`."""

    def __init__(
        self, head: SegmentHead, topic: Topic, keys: TenantKeys, cases: Cases, *, is_retry: bool
    ) -> None:
        """`head`: what its segments have in common; `topic`: the journal's own."""
        self._head = head
        self._topic = topic
        self._keys = keys
        self._cases = cases
        self._is_retry = is_retry
        self._start = 0
        self._answered: dict[int, Answered] = {}
        self._rows: list[Row] = []
        self._parts: list[bytes] = []

    def begin(self, position: int) -> None:
        """All below is committed, by whoever it was."""
        self._start = position
        self._answered = {at: told for at, told in self._answered.items() if at >= position}

    def note(self, outcomes: Outcomes, part: slice) -> None:
        """An executor has answered this part of them; without notes it tells only the story."""
        told = zip(outcomes.notes[part] or repeat(b""), repeat(outcomes.batch))
        self._answered.update(zip(outcomes.offsets[part], told, strict=False))

    def block(self, results: Results) -> None:
        """All requests of a block."""
        assert results.rows, "an executor that writes no journal"
        self._close_part()
        self._parts.append(results.rows)

    def row(self, record: Stored, outcome: Outcome, tail: bytes = b"") -> None:
        """A single request; `tail`: of its result record, empty if it has none yet."""
        raw, story = self._answered.get(record.offset, (b"", None))
        told = Told() if story is None else Told(read_note(raw) if raw else Note(), story)
        row = row_of(
            record,
            outcome,
            headers.value_of(tail) if tail else b"",
            told,
            self._cases.attempts(record.offset),
            self._keys,
            is_retry=self._is_retry,
            now_ms=time.time_ns() // 1_000_000,
        )
        self._rows.append(row)
        if len(self._rows) == PART_ROWS:
            self._close_part()

    def segments(self, end: int, requests: int) -> list[Produced]:
        """The window, which ends before offset `end`, as records of the journal.

        `requests`: how many it has, counted by somebody else.
        """
        self._close_part()
        parts, self._parts = self._parts, []
        topic, partition = self._head.topic, self._head.partition
        head = structs.replace(self._head, start=self._start, next=end, requests=requests)
        room = self._topic.max_message_bytes - FRAMING_BYTES - KEY_BYTES
        return [
            Produced(
                self._topic.name,
                partition,
                encode([key(topic, partition)], [headers.tail(value, 0, b"")]),
            )
            for value in encode_segments(head, parts, room)
        ]

    def _close_part(self) -> None:
        if self._rows:
            self._parts.append(framed(part_of(self._rows)))
            self._rows = []
