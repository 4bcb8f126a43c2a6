"""A record of a topic that a sink reads, and what a sink needs to know of such records.

The partition and offset are those of the topic that is read, for example `inference.journal`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chimera.stores.clickhouse import ClickHouse
from chimera.stores.native_block import Chunk


class Record(NamedTuple):
    """As Kafka has it; `at_ms`: when the broker appended it, epoch."""

    partition: int
    offset: int
    at_ms: int
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()
    made: Sequence[Chunk] | None = None
    """Its rows, if they were made ahead (`Sink.ahead`)."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A table, and how records become its rows; two of the columns are the record's coordinates."""

    table: str
    columns: Sequence[tuple[str, str]]
    chunks: Callable[[Sequence[Record]], Sequence[Chunk]]
    """Of records of one partition that follow each other; all at once where each is a row."""
    partition_column: str
    offset_column: str
    is_by_row: bool = False
    """Each record is one row, so a sink knows without looking how many it may hand over."""
    begin: Callable[[ClickHouse], None] = lambda _: None
    """What `chunks` has to know of the table, looked up when a sink begins."""
