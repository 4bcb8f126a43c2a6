"""What one fetch brought of one partition, handed on in runs. Pure.

    fetched bytes ── batches walked ── markers and aborted ones left out ── Run
                                                                             ├ block: not read here
                                                                             └ records: read when asked

A run is whole batches, so that a lane can pass it on as the broker stores it; only a batch with more
records than a run may have is read here and cut. A run may become a block if it is worth it and
seems to have no headers: with a deadline, its lane would have to watch the clock while executors
are busy. What an executor finds to have headers after all comes back, and is read here.
`tests/agents/test_fetched.py`.
"""

from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter

from chimera.schemas import headers, stored
from chimera.schemas.stored import Head, Stored
from chimera.schemas.work import Block

LARGE_BATCH = 4  # times a run's records: a larger batch is cut

_DEADLINE = headers.DEADLINE.encode()
_offset_of = attrgetter("offset")


class Run:
    """Consecutive records of one partition; looks like one record to Faust.

    `start` is the position that the run continues from: the first offset may lie past it, where
    markers, aborted or compacted records are, but nothing between was left out.
    """

    __slots__ = (
        "_is_compressed",
        "_raw",
        "_records",
        "count",
        "first_ms",
        "next",
        "offset",
        "partition",
        "start",
        "topic",
    )

    # What Faust asks a record for.
    timestamp = None
    timestamp_type = 1
    headers = ()
    key = None
    checksum = None
    serialized_key_size = 0
    serialized_value_size = 0

    def __init__(
        self,
        topic: str,
        partition: int,
        start: int,
        *,
        raw: bytes | memoryview = b"",
        offset: int = 0,
        next: int = 0,  # the word that Kafka uses
        count: int = 0,
        first_ms: int = 0,
        is_compressed: bool = False,
        records: Sequence[Stored] | None = None,
    ) -> None:
        """Of whole batches (`raw`, from `offset` up to `next`), or of `records` already read."""
        self.topic, self.partition, self.start = topic, partition, start
        self._raw, self._records, self._is_compressed = raw, records, is_compressed
        if records is not None:
            offset, next, count = (
                records[0].offset,
                records[-1].offset + 1,
                len(records),
            )  # the same
        self.offset, self.next, self.count, self.first_ms = offset, next, count, first_ms

    @property
    def value(self) -> "Run":
        return self

    @property
    def records(self) -> Sequence[Stored]:
        """Its records, read when they are asked for.

        Raises:
            Damaged: what was fetched is not what a producer has written.
        """
        if self._records is None:
            self._records = stored.parse(self._raw)
        return self._records

    def block(self, lane: int, least_records: int, *, search: bool) -> Block | None:
        """The run as a block of that lane; None if it has to be read here, or is too small.

        `search`: also where its lane has to look for deadlines, at 0.3 us a record.
        """
        raw = self._raw
        if (
            self.count < least_records
            or self._records is not None
            or self._may_show_headers(search=search)
        ):
            return None
        return Block(
            lane, self.topic, self.partition, self.offset, self.next, self.count, self.first_ms, raw
        )

    def _may_show_headers(self, *, search: bool) -> bool:
        """Headers of the last record tell that others have some, as a producer's mostly do.

        What is compressed shows none, to whoever does not unpack it.
        """
        if self._is_compressed:
            return search
        last = self._raw[-1]  # the number of its last record's headers, or the last byte of one
        return last != 0 or (search and _DEADLINE in bytes(self._raw))


class Fetched:
    """One partition's part of a fetch from `position` on; takes from it move the position."""

    def __init__(
        self,
        topic: str,
        partition: int,
        position: int,
        raw: bytes | memoryview,
        aborted: Sequence[tuple[int, int]] = (),
        continues: int | None = None,
    ) -> None:
        """`aborted`: (producer id, first offset) of transactions that a reader must not see.

        `continues`: after the last record that was read before; unset: the position.
        """
        self.position = position  # up to here all was handed on, or is not to be
        self.continues = position if continues is None else continues
        self._topic, self._partition, self._raw = topic, partition, raw
        self._heads = list(stored.heads(raw))
        self._at = 0
        self._aborted = sorted(aborted, key=lambda one: one[1])
        self._aborting: set[int] = set()
        self._rest: Sequence[Stored] = ()  # of a batch that is larger than a run

    @property
    def has_more(self) -> bool:
        return bool(self._rest) or self._at < len(self._heads)

    def drop(self) -> None:
        """Nothing of it is wanted any more."""
        self._heads, self._rest, self._at = [], (), 0

    def take(self, max_records: int) -> Run | None:
        """The next run; None when only batches that are not to be seen were left."""
        if not self._rest:
            run = self._batches(max_records)
            if run is not None or not self._rest:
                return run
        records, self._rest = self._rest[:max_records], self._rest[max_records:]
        run = Run(self._topic, self._partition, self.continues, records=records)
        self.continues = run.next
        if self._rest:
            self.position = run.next
        else:
            self.position = self._heads[self._at - 1].next
        return run

    def _batches(self, max_records: int) -> Run | None:
        """Batches that lie side by side, at least one; None: there is none, or it was cut.

        One in which reading starts is cut as well: how many of its records come is not known.
        """
        first: Head | None = None
        last: Head | None = None
        count = 0
        is_compressed = False
        while self._at < len(self._heads):
            head = self._heads[self._at]
            if not self._is_data(head):
                if last is not None:
                    break
                self._at += 1
                self.position = max(self.position, head.next)
                continue
            if last is not None and count + head.count > max_records:
                break
            if head.count > LARGE_BATCH * max_records or head.first < self.position:
                if last is None:
                    self._at += 1
                    self._cut(head)
                break
            self._at += 1
            first, last = first or head, head
            count += head.count
            is_compressed = is_compressed or head.is_compressed
        if first is None or last is None:
            return None
        raw = self._raw
        if last.stop - first.start < len(raw):
            raw = raw[first.start : last.stop]
        run = Run(
            self._topic,
            self._partition,
            self.continues,
            raw=raw,
            offset=first.first,
            next=last.next,
            count=count,
            first_ms=first.appended_ms,
            is_compressed=is_compressed,
        )
        self.position = self.continues = last.next
        return run

    def _cut(self, head: Head) -> None:
        records = stored.parse_batch(self._raw[head.start : head.stop])
        self._rest = records[bisect_left(records, self.position, key=_offset_of) :]
        if not self._rest:
            self.position = head.next

    def _is_data(self, head: Head) -> bool:
        """Whether a batch is for readers of committed records; called for each in order."""
        if head.next <= self.position or not head.count:
            return False
        while self._aborted and self._aborted[0][1] <= head.first:
            self._aborting.add(self._aborted.pop(0)[0])
        if head.is_control:
            if head.producer_id in self._aborting and stored.is_abort(self._raw, head):
                self._aborting.discard(head.producer_id)
            return False
        return not (head.is_transactional and head.producer_id in self._aborting)
