"""A hand-written confluent-kafka loop: consume, compute, produce. It promises nothing."""

import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from benchmarks.rivals.compute import Model
from benchmarks.rivals.options import Options, parse

MAX_RECORDS = 512


def serve(options: Options) -> None:
    """Read, compute and write until the time limit."""
    model = Model(options.model)
    consumer = Consumer(
        {
            "bootstrap.servers": options.bootstrap,
            "group.id": options.group,
            "enable.auto.commit": False,
            "fetch.max.bytes": 8 << 20,
            "fetch.queue.backoff.ms": 5,  # 1000 by default: a full queue is then worked off dry
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": options.bootstrap,
            "linger.ms": 5,
            "batch.size": 1 << 20,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    consumer.assign(
        [TopicPartition(options.requests, number, OFFSET_BEGINNING) for number in options.mine]
    )
    ends = time.monotonic() + options.limit_s
    while time.monotonic() < ends:
        messages = consumer.consume(MAX_RECORDS, timeout=0.2)
        if not messages:
            continue
        outputs = model.process([message.value() or b"" for message in messages])
        for message, output in zip(messages, outputs, strict=True):
            producer.produce(options.results, output, key=message.key())
        producer.poll(0)


if __name__ == "__main__":
    serve(parse())
