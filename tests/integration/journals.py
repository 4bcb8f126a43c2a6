"""What a journal and its results say, read back with an independent client."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition
from msgspec import UNSET

from chimera.schemas.journal import SegmentHead, decode_segment, key
from chimera.schemas.journal_rows import COMMITMENT_BYTES, Group, Rows

Where = tuple[str, int, int]
"""Topic, partition and offset of a request."""


@dataclass(frozen=True)
class Row:
    """One row, out of its columns."""

    group: Group
    outcome: str
    input_bytes: int
    output_bytes: int
    slack_ms: int
    attempt: int
    id: str
    origin: str
    input_commitment: bytes
    output_commitment: bytes


@dataclass
class Journal:
    """All that is visible."""

    heads: list[SegmentHead] = field(default_factory=list[SegmentHead])
    rows: dict[Where, list[Row]] = field(default_factory=lambda: defaultdict(list))


def visible(bootstrap: str, topic: str, partitions: int) -> list[Message]:
    """Every record that a read_committed consumer sees now."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "unused",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    found: list[Message] = []
    ended: set[int | None] = set()
    try:
        while len(ended) < partitions:
            message = consumer.poll(10)
            assert message is not None, f"{topic}: nothing came for 10 s"
            if message.error() is None:
                found.append(message)
            else:
                ended.add(message.partition())
    finally:
        consumer.close()
    return found


def read(bootstrap: str, topic: str, partitions: int) -> Journal:
    """All segments of a journal, in order; each lane counted as many requests as have rows."""
    found, owed = Journal(), Counter[bytes]()
    for message in visible(bootstrap, topic, partitions):
        head, parts = decode_segment(message.value() or b"")
        assert message.key() == f"{head.topic}:{head.partition}".encode()
        assert message.partition() == head.partition
        found.heads.append(head)
        assert head.requests is not UNSET
        lane = key(head.topic, head.partition)
        owed[lane] += head.requests
        for rows in parts:
            owed[lane] -= len(rows)
            for at, row in enumerate(single(rows)):
                where = head.topic, head.partition, int(rows.offsets[at])
                found.rows[where].append(row)
    assert not any(owed.values())
    return found


def single(rows: Rows) -> Iterator[Row]:
    for at, name in enumerate(rows.ids):
        part = slice(at * COMMITMENT_BYTES, (at + 1) * COMMITMENT_BYTES)
        yield Row(
            rows.groups[int(rows.group[at])],
            rows.outcomes[int(rows.outcome[at])],
            int(rows.input_bytes[at]),
            int(rows.output_bytes[at]),
            int(rows.slack_ms[at]),
            int(rows.attempt[at]),
            name.decode(),
            rows.origins[at].decode() if rows.origins else "",
            rows.input_commitments[part],
            rows.output_commitments[part],
        )


def result_of(message: Message) -> tuple[Where, bytes, dict[str, bytes]]:
    """A result's request, its value and its headers."""
    headers: dict[str, Any] = dict(message.headers() or [])
    where = (
        headers["chimera-request-topic"].decode(),
        int(headers["chimera-request-partition"]),
        int(headers["chimera-request-offset"]),
    )
    return where, message.value() or b"", headers
