"""The one independent reader of results, a process of its own: confluent-kafka, read_committed.

    python -m benchmarks.reader count   --bootstrap B --topic T --count N --out FILE
    python -m benchmarks.reader latency --bootstrap B --topic T --count N --start S --rate R --out FILE

`count` watches the last stable offsets until N distinct ids are visible and then reads them all
(`benchmarks.visible` says why). `latency` reads along, one message a poll, and takes receive time
less scheduled time of every id. It prints "ready" when it watches. Keys are sequence numbers;
results with another key (probes) are not counted.
"""

# pyright: reportPrivateImportUsage=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# (confluent-kafka's types leave the futures of its admin client open)

import argparse
import gc
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AdminClient,
    OffsetSpec,
)

from benchmarks import visible

SAMPLE_S = 0.02
FIRST_WITHIN_S = 60.0  # a contender that shows nothing for so long will not begin any more
STORY_EVERY = 64  # of this many results, one is asked for its headers
STORY = ("chimera-batch-size", "chimera-queue-us", "chimera-compute-us", "chimera-total-us")
LEADERS_WITHIN_S = 10.0
NO_LEADER_YET = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
)
SETTLED_S = 1.0  # stable offsets that have not moved for so long are worth a full read


class Reader:
    """Reads one topic of results."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        partitions = self._admin.list_topics(topic, timeout=10).topics[topic].partitions
        self._partitions = [TopicPartition(topic, number) for number in sorted(partitions)]
        self._stories: dict[str, list[int]] = {}

    def stable_ends(self) -> list[int]:
        """The last stable offset of each partition: what `read_committed` may see."""
        ends = time.monotonic() + LEADERS_WITHIN_S
        while True:
            try:
                return self._ask_stable_ends()
            except KafkaException as error:  # a topic just made has no leader for a moment
                if error.args[0].code() not in NO_LEADER_YET or time.monotonic() > ends:
                    raise
                time.sleep(0.1)

    def _ask_stable_ends(self) -> list[int]:
        latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # it has no annotations
        asked: dict[TopicPartition, Any] = dict.fromkeys(self._partitions, latest)
        found: dict[TopicPartition, Any] = self._admin.list_offsets(
            asked, isolation_level=IsolationLevel.READ_COMMITTED
        )
        by_number = {at.partition: int(future.result(10).offset) for at, future in found.items()}
        return [by_number[partition.partition] for partition in self._partitions]

    def count(self, wanted: int, limit_s: float, patience_s: float) -> dict[str, Any]:
        """Watch until `wanted` ids are visible, nothing moves for `patience_s`, or the limit."""
        times: list[float] = []
        ends: list[list[int]] = []
        gives_up = time.monotonic() + limit_s
        cpu, used, gap = time.process_time(), 0.0, 0.0
        moved, read_at = time.monotonic(), -1
        numbers, seen = np.empty(0, dtype=np.int64), np.empty(0)
        while (now := time.monotonic()) < gives_up:
            found = self.stable_ends()
            if times:
                gap = max(gap, now - times[-1])
            if not ends or found != ends[-1]:
                moved = now
            times.append(time.monotonic())
            ends.append(found)
            quiet = now - moved
            if sum(found) >= wanted and quiet > SETTLED_S and sum(found) != read_at:
                read_at = sum(found)
                used = time.process_time() - cpu
                numbers, seen = self._read_all(times, ends)
                if len(np.unique(numbers)) >= wanted:
                    break
            if quiet > (patience_s if sum(found) else FIRST_WITHIN_S):
                break
            time.sleep(max(0.0, SAMPLE_S - (time.monotonic() - now)))
        if sum(ends[-1]) != read_at:
            used = time.process_time() - cpu
            numbers, seen = self._read_all(times, ends)
        rate = visible.rate(visible.first_seen(numbers, seen), len(numbers))
        return {
            **asdict(rate),
            "wanted": wanted,
            "lost": wanted - rate.visible,
            "repeated": rate.records - rate.visible,
            "reader_cpu_share": used / max(times[-1] - times[0], 1e-9),
            "largest_gap_s": round(gap, 3),
            "stories": self._medians(),
        }

    def _read_all(
        self, times: list[float], ends: list[list[int]]
    ) -> tuple[visible.Numbers, visible.Seconds]:
        """Every numbered result's id, and when it was first below the stable end."""
        samples, stable = np.array(times), np.array(ends, dtype=np.int64)
        numbers: list[visible.Numbers] = []
        seen: list[visible.Seconds] = []
        for index, (ids, offsets) in enumerate(self._records()):
            numbers.append(np.array(ids, dtype=np.int64))
            at = np.array(offsets, dtype=np.int64)
            seen.append(visible.visible_at(samples, stable[:, index], at))
        return np.concatenate(numbers), np.concatenate(seen)

    def _records(self) -> list[tuple[list[int], list[int]]]:
        """For each partition the ids and offsets of all visible results, from the start."""
        consumer = self._consumer({"enable.partition.eof": True, "fetch.max.bytes": 16 << 20})
        consumer.assign(
            [TopicPartition(one.topic, one.partition, OFFSET_BEGINNING) for one in self._partitions]
        )
        found: dict[int, tuple[list[int], list[int]]] = {
            one.partition: ([], []) for one in self._partitions
        }
        open_partitions = set(found)
        ends = time.monotonic() + 300
        while open_partitions and time.monotonic() < ends:
            for message in consumer.consume(20_000, 0.2):
                partition = int(message.partition() or 0)
                if _at_end(message):
                    open_partitions.discard(partition)
                elif (number := sequence_number(message.key())) is not None:
                    found[partition][0].append(number)
                    found[partition][1].append(int(message.offset() or 0))
                    if number % STORY_EVERY == 0:
                        self._hear(message)
        consumer.close()
        if open_partitions:
            raise TimeoutError("could not read all results within 300 s")
        return list(found.values())

    def latency(
        self, wanted: int, start: float, rate: float, warmup_s: float, keep: Path | None = None
    ) -> dict[str, Any]:
        """Read along; latencies of the ids that were due after the warm-up.

        `keep`: a file for the times that each id's result was received and appended at: two rows,
        NaN where it never was.
        """
        consumer = self._consumer({"fetch.wait.max.ms": 100, "fetch.min.bytes": 1})
        consumer.assign(
            [TopicPartition(one.topic, one.partition, OFFSET_BEGINNING) for one in self._partitions]
        )
        received = np.full(wanted, np.nan)
        appended = np.full(wanted, np.nan)
        epoch = time.time() - time.monotonic()
        repeated, missing, ends = 0, wanted, start + wanted / rate + 10
        gc.freeze()
        print("ready", flush=True)
        cpu, since = time.process_time(), time.monotonic()
        while missing and time.monotonic() < ends:
            message = consumer.poll(0.1)
            if message is None:
                continue
            now = time.monotonic()
            number = None if _at_end(message) else sequence_number(message.key())
            if number is None:
                continue
            if not np.isnan(received[number]):
                repeated += 1
                continue
            received[number] = now
            appended[number] = message.timestamp()[1] / 1e3 - epoch
            missing -= 1
            if number % STORY_EVERY == 0:
                self._hear(message)
        used = (time.process_time() - cpu) / max(time.monotonic() - since, 1e-9)
        consumer.close()
        if keep is not None:
            np.save(keep, np.stack((received, appended)))
        due = start + np.arange(wanted) / rate
        measured = slice(int(warmup_s * rate), None)
        return {
            **_latencies((received - due)[measured] * 1e3, (appended - due)[measured] * 1e3),
            "stories": self._medians(),
            "seconds_p99_ms": _by_second((received - due)[measured] * 1e3, rate),
            "lost": missing,
            "repeated": repeated,
            "reader_cpu_share": used,
        }

    def _hear(self, message: "Message[Any, Any]") -> None:
        """What our own results say of themselves in their headers; rivals' say nothing."""
        headers: Any = message.headers() or ()
        for name, value in headers:
            if name in STORY and isinstance(value, bytes) and value.isdigit():
                self._stories.setdefault(name, []).append(int(value))

    def _medians(self) -> dict[str, float]:
        return {name: float(np.median(found)) for name, found in sorted(self._stories.items())}

    def _consumer(self, more: dict[str, Any]) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "bench-reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                **more,
            }
        )


def _latencies(latency_ms: visible.Seconds, append_ms: visible.Seconds) -> dict[str, Any]:
    there = ~np.isnan(latency_ms)
    waited = latency_ms[there] - append_ms[there]
    return {
        "measured": int(np.sum(there)),
        **visible.percentiles(latency_ms[there]),
        # to the result's append on the broker, and from there to the reader (a commit lies between)
        "until_append": visible.percentiles(append_ms[there]),
        "append_to_visible": visible.percentiles(waited),
    }


def _by_second(latency_ms: visible.Seconds, rate: float) -> list[float]:
    """The p99 of each second that requests were due in: shows stalls that one figure hides."""
    step = max(1, int(rate))
    seconds = (latency_ms[at : at + step] for at in range(0, len(latency_ms), step))
    kept = (one[~np.isnan(one)] for one in seconds)
    return [round(float(np.percentile(one, 99)), 1) for one in kept if len(one)]


def _at_end(message: "Message[Any, Any]") -> bool:
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:
        return True
    raise RuntimeError(f"the reader failed: {error}")


def sequence_number(key: bytes | None) -> int | None:
    """The request's number, None where the key is no number (a probe's)."""
    return int(key) if key is not None and key.isdigit() else None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=["count", "latency"])
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--limit-s", type=float, default=120.0)
    parser.add_argument("--patience-s", type=float, default=10.0)
    parser.add_argument("--start", type=float, default=0.0, help="monotonic seconds")
    parser.add_argument("--rate", type=float, default=1_000.0)
    parser.add_argument("--warmup-s", type=float, default=10.0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    reader = Reader(given.bootstrap, given.topic)
    if given.how == "count":
        print("ready", flush=True)
        report = reader.count(given.count, given.limit_s, given.patience_s)
    else:
        report = reader.latency(given.count, given.start, given.rate, given.warmup_s, given.keep)
    given.out.write_bytes(orjson.dumps(report))


if __name__ == "__main__":
    main()
