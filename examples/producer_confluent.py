"""Publish requests with plain confluent-kafka: JSON values, nothing of Chimera's is imported.

python examples/producer_confluent.py --bootstrap 127.0.0.1:9092 --count 3
"""

import argparse
import json

from confluent_kafka import KafkaError, Message, Producer

NOUGHT = """
    0  0  5 13  9  1  0  0    0  0 13 15 10 15  5  0    0  3 15  2  0 11  8  0    0  4 12  0  0  8  8  0
    0  5  8  0  0  9  8  0    0  4 11  0  1 12  7  0    0  2 14  5 10 12  0  0    0  0  6 13 10  0  0  0
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True, help="host:port, as `chimera status` tells")
    parser.add_argument("--topic", default="inference.requests")
    parser.add_argument("--model", default="digits")
    parser.add_argument("--count", type=int, default=1)
    given = parser.parse_args()

    # Idempotence: when the broker's answer is lost, the retry is not a second request.
    producer = Producer({"bootstrap.servers": given.bootstrap, "enable.idempotence": True})
    data = [float(pixel) for pixel in NOUGHT.split()]
    image = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": data}
    for number in range(given.count):
        request = {"model_name": given.model, "id": f"nought-{number}", "inputs": [image]}
        # Requests of one key are answered in the order in which they were sent; without a key they
        # go to any partition.
        producer.produce(given.topic, json.dumps(request), key="camera-1", on_delivery=on_delivery)
    producer.flush()


def on_delivery(error: KafkaError | None, message: Message) -> None:
    # Where the record is names the request: its result carries the same three in its headers.
    told = error or f"{message.topic()} {message.partition()} {message.offset()}"
    print(f"published: {told}")


if __name__ == "__main__":
    main()
