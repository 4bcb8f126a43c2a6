"""A sink: records in, rows in a table, each once, through crashes and answers that never came.

    resume ── where a partition goes on: after the table's last row, or the committed floor
    add    ── a record waits in its partition's batch; what makes it full, or ends a month, flushes
    flush  ── the batch is decided: its first and last offset and token are written down,
              then its rows are inserted, as one block

A batch is repeated exactly until it is there: a restart finds what was decided and cuts the same
records again, under the same token, so an INSERT that was slow and one that repeats it are one.
Boundaries are decided by count, bytes or time, once; they are not derived again.
One sink at a time may own a partition. `tests/stores/test_sink.py`; `tests/integration/test_sink_survival.py` kills it at every step.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from chimera.schemas.errors import HistoryConflict
from chimera.stores.clickhouse import DATABASE, ClickHouse
from chimera.stores.native_block import Chunk, block
from chimera.stores.source import Destination, Record


@dataclass(frozen=True, slots=True)
class Limits:
    """Any of them ends a batch."""

    rows: int = 200_000  # one block: the engine cuts larger ones
    bytes: int = 32 << 20
    seconds: float = 1.0


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Decided:
    """A batch that was written down before it was inserted."""

    first: int
    last: int
    token: str


@dataclass(slots=True)
class _Batch:
    """Records of one partition that are not inserted yet."""

    next: int  # the first offset that is not in the table, nor here
    repeat: Decided | None = None  # what must be cut exactly so
    first: int = 0
    last: int = 0
    month: tuple[int, int] = (0, 0)
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
        self._batches: dict[int, _Batch] = {}

    @property
    def table(self) -> str:
        return self._to.table

    def resume(self, partition: int, floor: int = 0) -> int:
        """The offset to read from. `floor`: what the group has committed, 0 for nothing.

        Raises:
            HistoryConflict: the table ends inside a batch that was decided as a whole.
        """
        to = self._to
        ((rows, last),) = self._clickhouse.rows(
            f"SELECT count(), max({to.offset_column}) FROM {DATABASE}.{to.table}"
            f" WHERE {to.partition_column} = {{partition:UInt32}}",
            {"partition": partition},
        )
        to.begin(self._clickhouse)
        start = max(floor, int(last) + 1 if rows else 0)
        decided = self._decided(partition)
        repeat = None
        if decided is not None and decided.last >= start:
            if decided.first < start:
                raise HistoryConflict(
                    f"{to.table}: partition {partition} goes on at {start}, inside a batch of"
                    f" {decided.first} to {decided.last}"
                )
            repeat = decided
        self._batches[partition] = _Batch(start, repeat)
        return start

    def forget(self, partition: int) -> None:
        """Somebody else has it now."""
        self._batches.pop(partition, None)

    def add(self, record: Record) -> None:
        """Take a record, in offset order; flushes what it completes.

        Raises:
            Malformed, SchemaInvalid: it is none of the source's.
            HistoryConflict: a batch that must be repeated cannot be: its last record is gone.
            ClickHouseUnavailable: as `flush`; the record was not taken, add it again.
        """
        batch = self._batches[record.partition]
        if record.offset < batch.next:
            return
        month = _month(record.at_ms)
        if batch.chunks and (month != batch.month or self._is_complete(batch)):
            self._insert(record.partition, batch)
            batch = self._batches[record.partition]
        if batch.repeat is not None and record.offset > batch.repeat.last:
            raise HistoryConflict(
                f"{self._to.table}: partition {record.partition}: offset {batch.repeat.last} ends a"
                f" batch that was decided, and is not in the topic any more"
            )
        chunks = self._to.chunks(record)
        batch.next = record.offset + 1
        if not chunks:
            return
        if not batch.chunks:
            batch.first, batch.month, batch.since_s = record.offset, month, time.monotonic()
            batch.since_ms = record.at_ms
        batch.chunks += chunks
        batch.rows += sum(chunk.rows for chunk in chunks)
        batch.bytes += len(record.value)
        batch.last = record.offset
        if self._is_complete(batch):
            self._insert(record.partition, batch)

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
            decided = Decided(batch.first, batch.last, token.hexdigest())
            self._write_down(partition, decided, batch.rows)
            batch.repeat = decided
        self._step("after_decide")
        names = [name for name, _ in to.columns]
        self._clickhouse.insert(to.table, names, rows, batch.repeat.token)
        self._step("after_insert")
        self.inserted(batch.rows, batch.since_ms)
        self._batches[partition] = _Batch(batch.next)

    def _decided(self, partition: int) -> Decided | None:
        found = self._clickhouse.rows(
            f"SELECT first, last, token FROM {DATABASE}.sink_batches"
            " WHERE sink = {sink:String} AND partition = {partition:UInt32}"
            " ORDER BY last DESC LIMIT 1",
            {"sink": self._to.table, "partition": partition},
        )
        return Decided(*found[0]) if found else None

    def _write_down(self, partition: int, decided: Decided, rows: int) -> None:
        self._clickhouse.command(
            f"INSERT INTO {DATABASE}.sink_batches (sink, partition, first, last, rows, token) VALUES"
            f" ('{self._to.table}', {partition}, {decided.first}, {decided.last}, {rows},"
            f" '{decided.token}')"
        )


def _month(at_ms: int) -> tuple[int, int]:
    then = time.gmtime(at_ms / 1000)
    return then.tm_year, then.tm_mon
