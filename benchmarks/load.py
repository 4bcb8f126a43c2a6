"""Requests: the standard one (64 random float32 as JSON, 1.3 kB), as a backlog or at a given rate.

    python -m benchmarks.load fill  --bootstrap B --topic T --count N
    python -m benchmarks.load paced --bootstrap B --topic T --count N --rate R --start S --out FILE

`fill` writes N requests as fast as it can and checks that the broker has them. `paced` is an open
loop: request i is due at S + i/R on the monotonic clock, whatever happened to those before it; it
reports how late it was itself. The key and the id are the sequence number.
`tests/benchmarks/test_load.py` decodes them.
"""

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

Headers = Sequence[tuple[str, str | bytes | None]]

DISTINCT = 1_000
FEATURES = 64


class Requests:
    """Request values by sequence number; `DISTINCT` different tensors, in turn."""

    def __init__(self, model: str = "digits", seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        tensors = random.random((DISTINCT, FEATURES), dtype=np.float32)
        self._tensors = [orjson.dumps(tensor.tolist()) for tensor in tensors]
        head = {"name": "x", "shape": [1, FEATURES], "datatype": "FP32"}
        self._middle = b'","model_name":"%s","inputs":[%s,"data":' % (
            model.encode(),
            orjson.dumps(head)[:-1],
        )

    def value(self, number: int) -> bytes:
        tensor = self._tensors[number % DISTINCT]
        return b"".join((b'{"id":"', b"%d" % number, self._middle, tensor, b"}]}"))


def fill(bootstrap: str, topic: str, count: int, headers: Headers = ()) -> None:
    """Write `count` requests and wait for their acknowledgements.

    Raises:
        RuntimeError: the broker has fewer of them.
    """
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 20,
            "batch.size": 262_144,
            "queue.buffering.max.messages": 200_000,
        }
    )
    requests = Requests()
    for number in range(count):
        _produce(producer, topic, number, requests.value(number), headers)
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush(120)
    written = _length(bootstrap, topic)
    if written < count:
        raise RuntimeError(f"{topic} holds {written} records instead of {count}")


def _produce(
    producer: Producer,
    topic: str,
    number: int,
    value: bytes,
    headers: Headers,
) -> None:
    while True:
        try:
            producer.produce(topic, value, key=b"%d" % number, headers=list(headers))
            return
        except BufferError:  # its queue is full: let it send
            producer.poll(0.05)


def _length(bootstrap: str, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-length"})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ends = (
            consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
            for number in partitions
        )
        return sum(end for _, end in ends)
    finally:
        consumer.close()


class Paced:
    """An open loop, and how far it fell behind its own schedule."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1})
        self._topic = topic
        self._requests = Requests()
        self._late_ms: list[float] = []
        self._acked_ms: list[float] = []
        self._failed = 0

    def run(self, count: int, rate: float, start: float) -> dict[str, Any]:
        """Send every request when it is due; returns the report."""
        gc.freeze()
        cpu = time.process_time()
        for number in range(count):
            due = start + number / rate
            while (wait := due - time.monotonic()) > 0:
                self._producer.poll(0)
                time.sleep(min(wait, 0.1))
            self._late_ms.append(-wait * 1e3)
            value = self._requests.value(number)
            self._producer.produce(
                self._topic, value, key=b"%d" % number, on_delivery=self._on_delivery(due)
            )
            self._producer.poll(0)
        self._producer.flush(30)
        return {
            "sent": count,
            "failed": self._failed,
            "cpu_share": (time.process_time() - cpu) / (count / rate),
            "late_ms": percentiles(self._late_ms),
            "acknowledged_ms": percentiles(self._acked_ms),
        }

    def _on_delivery(self, due: float) -> Callable[[Any, Any], None]:
        def delivered(error: Any, _message: Any) -> None:
            if error is not None:
                self._failed += 1
            self._acked_ms.append((time.monotonic() - due) * 1e3)

        return delivered


def percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    found = np.percentile(np.array(values), (50, 95, 99, 100))
    return dict(zip(("p50", "p95", "p99", "max"), (round(float(x), 3) for x in found), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=["fill", "paced"])
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, default=1_000.0)
    parser.add_argument("--start", type=float, default=0.0, help="monotonic seconds")
    parser.add_argument("--out", type=Path, default=Path("/dev/stdout"))
    given = parser.parse_args()
    if given.how == "fill":
        fill(given.bootstrap, given.topic, given.count)
        return
    start = given.start or time.monotonic() + 0.5
    report = Paced(given.bootstrap, given.topic).run(given.count, given.rate, start)
    given.out.write_bytes(orjson.dumps(report))


if __name__ == "__main__":
    main()
