"""Offsets as an outsider sees them: what a group has committed, where logs end, what is left to do.

`Sampler` writes committed offsets into the ledger while a campaign runs. All through
confluent-kafka; a broker that does not answer raises `KafkaException`.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (confluent-kafka leaves its futures' results open)

import threading
import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from tests.integration.chaos.background import Background
from tests.integration.chaos.ledger import Ledger

CALL_S = 20.0
SAMPLE_EVERY_S = 0.2
NEAR_END = (50, 5_000, 1_000_000_000)  # where the last record is sought, from the end back


class Offsets:
    """Of one group."""

    def __init__(self, bootstrap: str, group: str) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self._observer: Consumer | None = None
        self._lock = threading.Lock()

    def partitions(self, topic: str) -> list[TopicPartition]:
        found = self._admin.list_topics(topic, timeout=CALL_S).topics[topic].partitions
        return [TopicPartition(topic, number) for number in sorted(found)]

    def committed(self, topic: str) -> dict[int, int]:
        """The group's stable offsets; -1 where it has none.

        Through a consumer that never joins: the admin client's own call for this ends the process
        (SIGSEGV) when the broker is killed under it (confluent-kafka 2.16).
        """
        with self._lock:
            if self._observer is None:
                self._observer = Consumer(
                    {
                        "bootstrap.servers": self._bootstrap,
                        "group.id": self._group,
                        "enable.auto.commit": False,
                        "isolation.level": "read_committed",  # asks for stable offsets
                    }
                )
            metadata = self._observer.list_topics(topic, timeout=CALL_S).topics[topic]
            asked = [TopicPartition(topic, number) for number in sorted(metadata.partitions)]
            found = self._observer.committed(asked, timeout=CALL_S)
        if not found:
            raise KafkaException(f"{topic}: no partitions known yet")
        return {one.partition: max(one.offset, -1) for one in found}

    def close(self) -> None:
        with self._lock:
            if self._observer is not None:
                self._observer.close()
                self._observer = None

    def ends(
        self, topic: str, isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED
    ) -> dict[int, int]:
        """Log ends, or last stable offsets under READ_COMMITTED."""
        latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # confluent's own
        futures = self._admin.list_offsets(
            dict.fromkeys(self.partitions(topic), latest),
            isolation_level=isolation,
            request_timeout=CALL_S,
        )
        found: dict[Any, Any] = {where: future.result(CALL_S) for where, future in futures.items()}
        return {where.partition: end.offset for where, end in found.items()}

    def behind(self, topic: str) -> dict[int, int]:
        """How many offsets the group has left up to each partition's last record."""
        committed = self.committed(topic)
        lag = {n: last + 1 - committed.get(n, 0) for n, last in self.last(topic).items()}
        return {n: left for n, left in lag.items() if left > 0}

    def unstable(self, topic: str) -> dict[int, int]:
        """How many offsets lie behind a transaction that is still open."""
        stable = self.ends(topic, IsolationLevel.READ_COMMITTED)
        return {n: end - stable[n] for n, end in self.ends(topic).items() if end > stable[n]}

    def last(self, topic: str) -> dict[int, int]:
        """The last record of each partition that has one; transactions' markers are no records."""
        found: dict[int, int] = {}
        for back in NEAR_END:
            unknown = [where for where in self.partitions(topic) if where.partition not in found]
            found |= self._last_within(unknown, back)
        return found

    def _last_within(self, partitions: Sequence[TopicPartition], back: int) -> dict[int, int]:
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "chaos-ends",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
            }
        )
        found: dict[int, int] = {}
        try:
            starts: list[TopicPartition] = []
            for where in partitions:
                low, high = consumer.get_watermark_offsets(where, timeout=CALL_S)
                if high > low:
                    start = max(low, high - back)
                    starts.append(TopicPartition(where.topic, where.partition, start))
            consumer.assign(starts)
            reading, until = len(starts), time.monotonic() + CALL_S
            while reading and time.monotonic() < until:
                message = consumer.poll(0.5)
                if message is None:
                    continue
                if message.error() is not None:  # the end
                    reading -= 1
                else:
                    found[message.partition() or 0] = message.offset() or 0
            if reading:
                raise AssertionError(f"no end of {reading} partitions of {starts}")
        finally:
            consumer.close()
        return found


class Sampler(Background):
    """A context: writes the group's committed offsets into the ledger, a few times a second."""

    def __init__(self, offsets: Offsets, topic: str, ledger: Ledger) -> None:
        super().__init__("sampler")
        self._offsets = offsets
        self._topic = topic
        self._ledger = ledger

    def _run(self) -> None:
        for _ in self._every(SAMPLE_EVERY_S):
            try:
                found = self._offsets.committed(self._topic)
            except KafkaException:  # the broker is away: that is some campaigns' point
                continue
            by_ms = time.time_ns() // 1_000_000
            rows = [(self._topic, n, offset, by_ms) for n, offset in found.items() if offset > 0]
            self._ledger.add("samples", rows)
