"""Read results with plain confluent-kafka; nothing of Chimera's is imported.

python examples/consumer_confluent.py --bootstrap 127.0.0.1:9092
"""

import argparse
import json

from confluent_kafka import Consumer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True, help="host:port, as `chimera status` tells")
    parser.add_argument("--topic", default="inference.results")
    parser.add_argument("--group", default="example", help="remembers what was read")
    parser.add_argument("--count", type=int, default=0, help="end after so many; 0: never")
    given = parser.parse_args()

    consumer = Consumer(
        {
            "bootstrap.servers": given.bootstrap,
            "group.id": given.group,
            "auto.offset.reset": "earliest",
            # Results become visible when their transaction commits; a crashed node's half-finished
            # ones never do. Read uncommitted, and you may see an outcome twice.
            "isolation.level": "read_committed",
            # Commit after the work is done: a crash of this program repeats a result, not skips it.
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([given.topic])
    seen = 0
    while not given.count or seen < given.count:
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        headers = dict(message.headers() or [])
        result = json.loads(message.value() or b"{}")  # of a request that asked for no binary data
        if "chimera-error-code" in headers:
            print(f"{result['id']}: {result['parameters']['code']}: {result['error']}")
        else:
            print(f"{result['id']}: {result['outputs'][0]['data']}")
        consumer.commit(message=message, asynchronous=False)
        seen += 1
    consumer.close()


if __name__ == "__main__":
    main()
