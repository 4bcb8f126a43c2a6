"""`sink_batches`: what sinks were about to insert, and from where a partition goes on because of it.

    life     of a sink: one more than any before it, so what a fenced one still wrote is told apart
    batch    first and last offset, and token, written down before its rows are inserted
    opening  a life's first line, without rows: so far the table had come; or the batch to be repeated

A partition goes on behind the table's last row. Where a retention left none, what was written down says
how far it had come; the committed floor, only whether the last batch had been inserted. Rows that are
gone, or of another topic: going on would lose rows in silence, so it is a `HistoryConflict` that says
what to do. `tests/stores/test_sink_batches.py`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chimera.schemas.errors import HistoryConflict
from chimera.stores.clickhouse import DATABASE, ClickHouse, Row

TABLE = f"{DATABASE}.sink_batches"
FILL_AGAIN = f"bring them back, or delete its lines of {TABLE} and it is filled again from Kafka"
ANOTHER_TABLE = f"rename the table, make an empty one like it, and delete its lines of {TABLE}"


@dataclass(frozen=True, slots=True)
class Decided:
    """A batch that was written down before it was inserted; an opening has no token."""

    first: int
    last: int
    rows: int
    token: str
    topic_id: str = ""  # of the topic that was read; empty: an older release wrote it
    life: int = 0


class Known(NamedTuple):
    """Of one partition."""

    last: Decided | None  # of the newest life
    inserted: int  # the end of what it had inserted before, 0 if that is not known


NOTHING = Known(None, 0)


class Found(NamedTuple):
    """Of one partition, where a sink begins."""

    position: int | None  # behind the table's last row, None: it has no rows of it
    floor: int  # what the group has committed, 0 for nothing
    forgets: bool  # the table has a retention, which may have removed rows
    topic_id: str = ""
    end: int = sys.maxsize  # of the topic's partition


def goes_on(found: Found, known: Known) -> tuple[int, Decided | None]:
    """The offset to read from, and the batch that must be repeated exactly.

    Raises:
        HistoryConflict: rows are gone, a batch is there in part, or the topic is another one.
    """
    last, position = known.last, found.position
    if position is not None and position > found.end:
        raise HistoryConflict(
            f"it goes on at {position}, and its topic ends at {found.end}: that was made anew;"
            f" {ANOTHER_TABLE}"
        )
    if last is None:
        return position or 0, None
    if last.topic_id and found.topic_id and last.topic_id != found.topic_id:
        if position is None:
            return 0, None
        raise HistoryConflict(
            f"its rows are of another topic ({last.topic_id}), which was deleted and made anew"
            f" ({found.topic_id}); {ANOTHER_TABLE}"
        )
    if position is None and last.last >= found.end:
        return 0, None
    if position is None and found.forgets:
        is_inserted = not last.token or last.last < found.floor
        return (last.last + 1, None) if is_inserted else (last.first, last)
    position = position or 0
    if last.token and position > last.last:
        return position, None
    inserted = known.inserted if last.token else last.last + 1
    if position < inserted:
        raise HistoryConflict(
            f"its rows end before offset {position}, and those before {inserted} had been inserted;"
            f" {FILL_AGAIN}"
        )
    if last.token and position > last.first:
        raise HistoryConflict(
            f"it goes on at {position}, inside a batch of {last.first} to {last.last}"
        )
    return position, last if last.token else None


class SinkBatches:
    """Of one sink's table."""

    def __init__(self, clickhouse: ClickHouse, table: str) -> None:
        self._clickhouse = clickhouse
        self._table = table

    def known(self, partition: int) -> Known:
        """Raises ClickHouseUnavailable."""
        found = self._rows(
            partition, "first, last, rows, token, topic_id, life", "ORDER BY life DESC, last DESC"
        )
        if not found:
            return NOTHING
        last = Decided(*found[0])
        before = self._rows(
            partition, "last", f"AND life = {last.life} AND last < {last.first} ORDER BY last DESC"
        )
        return Known(last, int(before[0][0]) + 1 if before else 0)

    def write_down(self, partition: int, decided: Decided) -> None:
        """Raises ClickHouseUnavailable."""
        self._clickhouse.command(
            f"INSERT INTO {TABLE} (sink, partition, first, last, rows, token, topic_id, life) VALUES"
            f" ('{self._table}', {partition}, {decided.first}, {decided.last}, {decided.rows},"
            f" '{decided.token}', '{decided.topic_id}', {decided.life})"
        )

    def _rows(self, partition: int, columns: str, rest: str) -> Sequence[Row]:
        return self._clickhouse.rows(
            f"SELECT {columns} FROM {TABLE} WHERE sink = {{sink:String}}"
            f" AND partition = {{partition:UInt32}} {rest} LIMIT 1",
            {"sink": self._table, "partition": partition},
        )
