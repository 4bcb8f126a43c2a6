"""Two warehouses on one server, which take the table from each other again and again: each row once.

They cut batches of different sizes, so that a row would be there twice if both had inserted it.
"""

import asyncio
import random
import time

from chimera.agents.warehouse import Warehouse
from chimera.agents.warehouse_metrics import WarehouseMetrics
from chimera.schemas.server_settings import KafkaSettings
from chimera.stores import clickhouse, inference_log, warehouse_tables
from chimera.stores.sink import Limits, Sink
from chimera.topics.producers import ProducerError
from tests.forks import FORKS
from tests.integration.clickhouse_at import COUNTS, Server
from tests.integration.topics import new_topic, produce, topic_of
from tests.stores.sink_records import SIZE

WITHIN_S = 120.0
SEGMENTS = 20  # of each round
TAKEN_OVER = 4
LIVES = "SELECT max(life), uniqExact(life) FROM chimera.sink_batches WHERE token != ''"


def compete(dsn: str, kafka: str, topic: str, segments: int) -> None:
    """A process that is started again whenever the other one has taken over, and takes it back."""
    asyncio.run(_compete(dsn, KafkaSettings(bootstrap=kafka, group=topic), topic, segments))


async def _compete(dsn: str, kafka: KafkaSettings, topic: str, segments: int) -> None:
    limits = Limits(rows=segments * SIZE, seconds=0.02)
    while True:
        sink = Sink(clickhouse.server(dsn), inference_log.LOG, limits)
        reader = Warehouse(topic_of(topic), sink, WarehouseMetrics(), kafka)
        try:
            await reader.start()
            await reader.run()
        except ProducerError:
            await asyncio.sleep(random.uniform(0.05, 0.5))
        finally:
            await reader.stop()


def test_two_that_take_over_from_each_other_leave_each_row_once(
    kafka: str, prefix: str, clickhouse_at: Server
) -> None:
    topic = asyncio.run(new_topic(kafka, f"{prefix}inference.journal"))
    reader = clickhouse.server(clickhouse_at.dsn)
    warehouse_tables.migrate(reader)
    both = [
        FORKS.Process(target=compete, args=(clickhouse_at.dsn, kafka, topic, segments))
        for segments in (2, 3)
    ]
    for process in both:
        process.start()
    try:
        written, ends, lives = 0, time.monotonic() + WITHIN_S, 0
        while lives < TAKEN_OVER:
            produce(kafka, topic, range(written, written + SEGMENTS))
            written += SEGMENTS
            while (found := reader.rows(COUNTS)[0])[2] < written * SIZE:
                assert found[0] == found[1]
                assert time.monotonic() < ends and all(process.is_alive() for process in both)
                time.sleep(0.02)
            lives = reader.rows(LIVES)[0][1]  # that decided something
    finally:
        for process in both:
            process.kill()
            process.join()
    rows = written * SIZE
    assert tuple(reader.rows(COUNTS)[0]) == (rows, rows, rows)
