"""Producers: independent clients that write down what the broker acknowledged, and nothing else.

`Load` sends a mix at a rate from a thread of its own; `Aborted` leaves records of transactions that
never commit. Both choose partitions themselves, so a key stays where it is when partitions are added.
"""

import random
import time
import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tests.integration.chaos.background import Background
from tests.integration.chaos.cases import Case, Headers, Mix
from tests.integration.chaos.ledger import Ledger, digest
from tests.integration.chaos.observe import records

KEYS = 64
FLUSH_ROWS = 2_000
STEP_S = 0.01
FLUSH_WITHIN_S = 120.0


class Load(Background):
    """A context: sends from entering on, until `stop` or the end."""

    def __init__(
        self,
        bootstrap: str,
        ledger: Ledger,
        topic: str,
        partitions: int,
        *,
        mix: Mix,
        rate: float,
        seed: int,
        compression: str = "none",
    ) -> None:
        super().__init__("load")
        self.rate = rate  # requests a second; may be changed meanwhile
        self.mix = mix
        self.partitions = partitions
        self.sent = 0
        self._bootstrap = bootstrap
        self._ledger = ledger
        self._topic = topic
        self._rng = random.Random(seed)
        self._rows: list[tuple[Any, ...]] = []
        self._unplaced: list[
            tuple[Any, ...]
        ] = []  # stored, but the answer that said where was lost
        self._failed: list[str] = []
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                # two at once, and a new partition may take the second batch first, call the first
                # a repetition and never store it (KAFKA-15591)
                "max.in.flight": 1,
                "linger.ms": 5,
                "batch.size": mix.limit_bytes,  # a topic's limit counts whole batches
                "message.max.bytes": mix.limit_bytes + 200_000,
                "message.timeout.ms": 0,  # a broker that is away comes back
                "compression.type": compression,
                "socket.timeout.ms": 10_000,
                "topic.metadata.refresh.interval.ms": 1_000,
            }
        )

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.stop()
        else:  # something else went wrong: that is what must be seen
            self.end(error)

    def stop(self) -> None:
        """Send no more; returns when all is acknowledged and written down."""
        self.end()
        left = self._producer.flush(FLUSH_WITHIN_S)
        self._write()
        self._place()
        if left or self._failed:
            raise AssertionError(f"{left} requests unacknowledged; failed: {self._failed[:3]}")

    def flush(self) -> None:
        """Wait until what was sent is acknowledged; only while the thread does not run."""
        self._producer.flush(FLUSH_WITHIN_S)
        self._write()

    def send(self, case: Case, key: bytes | None, partition: int, topic: str | None = None) -> None:
        """Queue one request; call it only while the thread does not run."""
        headers: Headers = list(case.headers or [])
        told = partial(self._acknowledged, case, key, headers)
        while True:
            try:
                self._producer.produce(
                    topic or self._topic,
                    value=case.value,
                    key=key,
                    partition=partition,
                    headers=headers,
                    on_delivery=told,
                )
                break
            except BufferError:  # the broker is slow, or away
                self._producer.poll(0.05)
            except KafkaException as error:
                if error.args[0].code() != KafkaError._UNKNOWN_PARTITION:  # added just now
                    raise
                self._producer.poll(0.05)
        self.sent += 1

    def _acknowledged(
        self,
        case: Case,
        key: bytes | None,
        headers: Headers,
        error: KafkaError | None,
        message: Message,
    ) -> None:
        if error is not None:
            self._failed.append(f"{case.kind}: {error}")
            return
        offset = message.offset()
        into = self._rows if offset is not None and offset >= 0 else self._unplaced
        into.append(
            (
                message.topic(),
                message.partition(),
                offset,
                case.kind,
                case.expected,
                case.answer,
                key,
                int(case.ordered),
                digest(key, case.value, headers),
                time.time_ns() // 1_000_000,
            )
        )
        if len(self._rows) >= FLUSH_ROWS:
            self._write()

    def _write(self) -> None:
        rows, self._rows = self._rows, []
        self._ledger.add("requests", rows)

    def _place(self) -> None:
        """Find acknowledged requests whose offset the broker could not tell (a batch sent twice)."""
        waiting: dict[tuple[str, int, bytes], list[tuple[Any, ...]]] = {}
        for row in self._unplaced:
            waiting.setdefault((row[0], row[1], row[8]), []).append(row)
        self._unplaced = []
        if not waiting:
            return
        known = set(self._ledger.rows("SELECT topic, partition, offset FROM requests"))
        topics = sorted({topic for topic, _, _ in waiting})
        for messages in records(self._bootstrap, topics):
            for message in messages:
                topic, partition, offset = at = coordinates(message)
                headers: Any = message.headers() or []
                found = digest(message.key(), message.value(), headers)
                rows = waiting.get((topic, partition, found))
                if rows and at not in known:
                    self._rows.append((topic, partition, offset, *rows.pop(0)[3:]))
        self._write()
        if missing := [row[:6] for rows in waiting.values() for row in rows]:
            raise AssertionError(f"acknowledged requests are nowhere in their topic: {missing}")

    def _run(self) -> None:
        owed, before = 0.0, time.monotonic()
        while not self._stopping.is_set():
            now = time.monotonic()
            owed, before = min(owed + self.rate * (now - before), max(self.rate, 1.0)), now
            while owed >= 1 and not self._stopping.is_set():
                owed -= 1
                self._draw()
            self._producer.poll(STEP_S)

    def _draw(self) -> None:
        number = self._rng.randrange(KEYS)
        key = b"k%d" % number if self._rng.random() < 0.9 else None
        partition = zlib.crc32(b"k%d" % number) % self.partitions
        self.send(self.mix.draw(self._rng, self.sent), key, partition)


def coordinates(message: Message) -> tuple[str, int, int]:
    """Where a delivered message is; the client's types allow for one that is nowhere."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None and partition is not None and offset is not None
    return topic, partition, offset


def withdraw(
    bootstrap: str,
    ledger: Ledger,
    records: Sequence[tuple[str, int, bytes, Headers]],
    *,
    name: str,
) -> None:
    """Write records (topic, partition, value, headers) in a transaction, and abort it."""
    rows: list[tuple[Any, ...]] = []

    def told(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            raise AssertionError(f"a record to be aborted was not even written: {error}")
        rows.append((message.topic(), message.partition(), message.offset()))

    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": name})
    producer.init_transactions(30)
    producer.begin_transaction()
    for topic, partition, value, headers in records:
        producer.produce(topic, value=value, partition=partition, headers=headers, on_delivery=told)
    producer.flush(30)
    producer.abort_transaction(30)
    ledger.add("withdrawn", rows)
