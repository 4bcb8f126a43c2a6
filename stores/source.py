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


@dataclass(frozen=True, slots=True)
class Destination:
    """A table, and how records become its rows; two of the columns are the record's coordinates."""

    table: str
    columns: Sequence[tuple[str, str]]
    chunks: Callable[[Record], Sequence[Chunk]]
    partition_column: str
    offset_column: str
    begin: Callable[[ClickHouse], None] = lambda _: None
    """What `chunks` has to know of the table, looked up when a sink begins."""
