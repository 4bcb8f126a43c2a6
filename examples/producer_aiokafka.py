"""Publish requests with plain aiokafka: raw tensors behind a JSON head, as Triton's HTTP takes them.

python examples/producer_aiokafka.py --bootstrap 127.0.0.1:9092 --count 3
"""

# pyright: basic
# (aiokafka ships no type information)

import argparse
import asyncio
import json
import struct

from aiokafka import AIOKafkaProducer

ONE = """
    0  0  0 12 13  5  0  0    0  0  0 11 16  9  0  0    0  0  3 15 16  6  0  0    0  7 15 16 16  2  0  0
    0  0  1 16 16  3  0  0    0  0  1 16 16  6  0  0    0  0  1 16 16  6  0  0    0  0  0 11 16 10  0  0
"""


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True, help="host:port, as `chimera status` tells")
    parser.add_argument("--topic", default="inference.requests")
    parser.add_argument("--model", default="digits")
    parser.add_argument("--count", type=int, default=1)
    given = parser.parse_args()

    raw = struct.pack("<64f", *map(float, ONE.split()))  # little-endian, row by row
    size = {"binary_data_size": len(raw)}
    image = {"name": "image", "shape": [1, 64], "datatype": "FP32", "parameters": size}
    # Idempotence: when the broker's answer is lost, the retry is not a second request.
    async with AIOKafkaProducer(
        bootstrap_servers=given.bootstrap, enable_idempotence=True
    ) as producer:
        for number in range(given.count):
            request = {"model_name": given.model, "id": f"one-{number}", "inputs": [image]}
            head = json.dumps(request).encode()
            # Requests of one key are answered in the order in which they were sent.
            sent = await producer.send_and_wait(
                given.topic,
                head + raw,
                key=b"camera-2",
                headers=[("inference-header-content-length", str(len(head)).encode())],
            )
            # Where the record is names the request: its result carries the same in its headers.
            print(f"published: {sent.topic} {sent.partition} {sent.offset}")


if __name__ == "__main__":
    asyncio.run(main())
