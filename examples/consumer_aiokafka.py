"""Read results with plain aiokafka; nothing of Chimera's is imported.

python examples/consumer_aiokafka.py --bootstrap 127.0.0.1:9092
"""

# pyright: basic
# (aiokafka ships no type information)

import argparse
import asyncio
import json

from aiokafka import AIOKafkaConsumer


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True, help="host:port, as `chimera status` tells")
    parser.add_argument("--topic", default="inference.results")
    parser.add_argument("--group", default="example", help="remembers what was read")
    parser.add_argument("--count", type=int, default=0, help="end after so many; 0: never")
    given = parser.parse_args()

    async with AIOKafkaConsumer(
        given.topic,
        bootstrap_servers=given.bootstrap,
        group_id=given.group,
        auto_offset_reset="earliest",
        # Results become visible when their transaction commits; a crashed node's half-finished ones
        # never do. aiokafka's default reads uncommitted: you may see an outcome twice.
        isolation_level="read_committed",
        # Commit after the work is done: a crash of this program repeats a result, not skips it.
        enable_auto_commit=False,
    ) as consumer:
        seen = 0
        async for message in consumer:
            headers = dict(message.headers)
            result = json.loads(
                message.value or b"{}"
            )  # of a request that asked for no binary data
            if "chimera-error-code" in headers:
                print(f"{result['id']}: {result['parameters']['code']}: {result['error']}")
            else:
                print(f"{result['id']}: {result['outputs'][0]['data']}")
            await consumer.commit()
            seen += 1
            if seen == given.count:
                break


if __name__ == "__main__":
    asyncio.run(main())
