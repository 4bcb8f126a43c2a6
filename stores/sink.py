"""A sink: records in, rows in a table, each once, through crashes and answers that never came.

    resume ── where a partition goes on: after the table's last row (`sink_batches.py`)
    add    ── records wait in their partition's batch; what makes it full, or ends a month, flushes
    flush  ── the batch is decided: its first and last offset and token are written down; whoever
              wrote that and still has the right to (`hold`) inserts its rows, as one block

A batch is repeated exactly until it is there: a restart finds what was decided and cuts the same
records again, under the same token, so an INSERT that was slow and one that repeats it are one.
Boundaries are decided by count, bytes or time, once; they are not derived again. Whoever takes a
partition over looks after it has the right: it knows each batch that is still on its way.
`tests/stores/test_sink.py`; `tests/integration/test_sink_survival.py` kills it at every step.
"""

import calendar
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from chimera.schemas.errors import HistoryConflict
from chimera.stores import retention
from chimera.stores.clickhouse import DATABASE, ClickHouse
from chimera.stores.native_block import Chunk, block
from chimera.stores.sink_batches import Decided, Found, SinkBatches, goes_on
from chimera.stores.source import Destination, Record

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Any of them ends a batch."""

    rows: int = 200_000  # one block: the engine cuts larger ones
    bytes: int = 32 << 20
    seconds: float = 1.0


LIMITS = Limits()


@dataclass(slots=True)
class _Batch:
    """Records of one partition that are not inserted yet."""

    next: int  # the first offset that is not in the table, nor here
    life: int
    topic_id: str
    repeat: Decided | None = None  # what must be cut exactly so
    first: int = 0
    last: int = 0
    month: range = range(0)  # epoch, ms
    rows: int = 0
    bytes: int = 0
    since_s: float = 0.0
    since_ms: int = 0  # when the broker had its first record
    chunks: list[Chunk] = field(default_factory=list[Chunk])


class Sink:
    """Of one table."""

    def __init__(
        self,
        clickhouse: ClickHouse,
        destination: Destination,
        limits: Limits = LIMITS,
        step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`step` is called at each stage of a flush: fail-points of tests."""
        self._clickhouse = clickhouse
        self._to = destination
        self._limits = limits
        self._step = step
        self.inserted: Callable[[int, int], None] = lambda _rows, _oldest_ms: None
        """Called after each INSERT."""
        self.hold: Callable[[], None] = lambda: None
        """Called before each INSERT; it raises where somebody else has taken over."""
        self._written = SinkBatches(clickhouse, destination.table)
        self._batches: dict[int, _Batch] = {}

    @property
    def table(self) -> str:
        return self._to.table

    def resume(
        self, partition: int, floor: int = 0, topic_id: str = "", end: int = sys.maxsize
    ) -> int:
        """The offset to read from. `floor`: what the group has committed, 0 for nothing; `end`: the topic's.

        Raises:
            HistoryConflict: the table does not fit what had been decided; see `sink_batches`.
        """
        to = self._to
        ((rows, last),) = self._clickhouse.rows(
            f"SELECT count(), max({to.offset_column}) FROM {DATABASE}.{to.table}"
            f" WHERE {to.partition_column} = {{partition:UInt32}}",
            {"partition": partition},
        )
        to.begin(self._clickhouse)
        known = self._written.known(partition)
        position = int(last) + 1 if rows else None
        forgets = not rows and retention.forgets(self._clickhouse, to.table)
        try:
            start, repeat = goes_on(Found(position, floor, forgets, topic_id, end), known)
        except HistoryConflict as error:
            raise HistoryConflict(f"{to.table}: partition {partition}: {error}") from None
        if start < floor:
            log.warning(
                "table_is_behind", table=to.table, partition=partition, start=start, floor=floor
            )
        life = known.last.life + 1 if known.last is not None else 1
        self._open(partition, repeat or Decided(start, start - 1, 0, ""), life, topic_id)
        self._batches[partition] = _Batch(start, life, topic_id, repeat)
        return start

    def forget(self, partition: int) -> None:
        """Somebody else has it now."""
        self._batches.pop(partition, None)

    def ahead(self, records: Sequence[Record]) -> Sequence[Record]:
        """Records with their rows, for `add`: in another thread, while an INSERT is on its way.

        Where each record is a row they are made together, by `add`. Raises Malformed, SchemaInvalid.
        """
        if self._to.is_by_row:
            return records
        return [one._replace(made=self._to.chunks([one])) for one in records]

    def add(self, *records: Record) -> None:
        """Take records of one partition, in offset order; flushes what they complete.

        Raises:
            Malformed, SchemaInvalid: one is none of the source's.
            HistoryConflict: a batch that must be repeated cannot be: its last record is gone.
            ClickHouseUnavailable: as `flush`; add them again, those that were taken are known.
        """
        at = 0
        while at < len(records):
            at = self._take(records, at)

    def _take(self, records: Sequence[Record], at: int) -> int:
        """Those from `at` on that stay in one batch; where the next one begins."""
        one = records[at]
        batch = self._batches[one.partition]
        if one.offset < batch.next:
            return at + 1
        if batch.chunks and (one.at_ms not in batch.month or self._is_complete(batch)):
            self._insert(one.partition, batch)
            batch = self._batches[one.partition]
        if batch.repeat is not None and one.offset > batch.repeat.last:
            raise HistoryConflict(
                f"{self._to.table}: partition {one.partition}: offset {batch.repeat.last} ends a"
                f" batch that was decided, and is not in the topic any more"
            )
        month = batch.month if batch.chunks else _month(one.at_ms)
        run = records[at : self._end(batch, month, records, at)]
        chunks = one.made if one.made is not None else self._to.chunks(run)
        batch.next = run[-1].offset + 1
        if not chunks:
            return at + len(run)
        if not batch.chunks:
            batch.first, batch.month, batch.since_s = one.offset, month, time.monotonic()
            batch.since_ms = one.at_ms
        batch.chunks += chunks
        batch.rows += sum(chunk.rows for chunk in chunks)
        batch.bytes += sum(len(each.value) for each in run)
        batch.last = run[-1].offset
        if self._is_complete(batch):
            self._insert(one.partition, batch)
        return at + len(run)

    def _end(self, batch: _Batch, month: range, records: Sequence[Record], at: int) -> int:
        """The first record that does not belong to the run that begins with the one at `at`."""
        if not self._to.is_by_row:
            return at + 1
        last = batch.repeat.last if batch.repeat is not None else sys.maxsize
        rows, size = batch.rows, batch.bytes
        for end in range(at, len(records)):
            one = records[end]
            if one.at_ms not in month or one.offset > last:
                return end
            rows += 1
            size += len(one.value)
            if rows >= self._limits.rows or size >= self._limits.bytes:
                return end + 1
        return len(records)

    def flush(self, *, all: bool = False) -> dict[int, int]:
        """Insert what has waited long enough, or all of it; the positions that may be committed.

        A batch that has to be repeated waits for its last record.

        Raises:
            ClickHouseUnavailable: call it again; nothing is lost, and nothing doubled.
        """
        now_s = time.monotonic()
        for partition, batch in self._batches.items():
            is_due = all or now_s - batch.since_s >= self._limits.seconds
            is_due = is_due and batch.repeat is None and bool(batch.chunks)
            if is_due or self._is_complete(batch):
                self._insert(partition, batch)
        return {
            partition: batch.first if batch.chunks else batch.next
            for partition, batch in self._batches.items()
        }

    def _is_complete(self, batch: _Batch) -> bool:
        if not batch.chunks:
            return False
        if batch.repeat is not None:
            return batch.last == batch.repeat.last
        return batch.rows >= self._limits.rows or batch.bytes >= self._limits.bytes

    def _insert(self, partition: int, batch: _Batch) -> None:
        to = self._to
        rows = block(to.columns, batch.chunks)
        if batch.repeat is None:
            token = hashlib.sha256(f"{to.table}:{partition}:{batch.first}:".encode() + rows)
            self._step("before_decide")
            decided = Decided(
                batch.first,
                batch.last,
                batch.rows,
                token.hexdigest(),
                batch.topic_id,
                batch.life,
            )
            self._written.write_down(partition, decided)
            batch.repeat = decided
        self._step("after_decide")
        self.hold()  # after it was written down: who takes over later reads it
        names = [name for name, _ in to.columns]
        self._clickhouse.insert(to.table, names, rows, batch.repeat.token)
        self._step("after_insert")
        self.inserted(batch.rows, batch.since_ms)
        self._batches[partition] = _Batch(batch.next, batch.life, batch.topic_id)

    def _open(self, partition: int, begins: Decided, life: int, topic_id: str) -> None:
        """A life's first line; from then on nobody decides anything under the same number."""
        self._written.write_down(partition, replace(begins, topic_id=topic_id, life=life))
        self.hold()


def _month(at_ms: int) -> range:
    """All moments of the month that this one lies in."""
    then = time.gmtime(at_ms / 1000)
    begins = (then.tm_year, then.tm_mon, 1, 0, 0, 0)
    ends = (then.tm_year + then.tm_mon // 12, then.tm_mon % 12 + 1, 1, 0, 0, 0)
    return range(calendar.timegm(begins) * 1000, calendar.timegm(ends) * 1000)
