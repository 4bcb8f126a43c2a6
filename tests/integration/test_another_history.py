"""A ClickHouse that was emptied, and a topic that was made anew: rows are filled again, or it is told."""

import asyncio
from contextlib import suppress

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from chimera.agents.warehouse import Warehouse
from chimera.agents.warehouse_metrics import WarehouseMetrics
from chimera.schemas.errors import HistoryConflict
from chimera.schemas.server_settings import KafkaSettings
from chimera.stores import clickhouse, inference_log, retention, warehouse_tables
from chimera.stores.clickhouse import ClickHouse
from chimera.stores.sink import Limits, Sink
from tests.integration.clickhouse_at import COUNTS, Server
from tests.integration.topics import new_topic, produce, topic_of
from tests.stores.sink_records import SIZE
from tests.waiting import until

WITHIN_S = 60.0
ANOTHER = (
    "RENAME TABLE chimera.inference_log TO chimera.inference_log_before",
    "CREATE TABLE chimera.inference_log AS chimera.inference_log_before",
    "DELETE FROM chimera.sink_batches WHERE sink = 'inference_log'",
)


async def fill(writer: ClickHouse, kafka: str, topic: str, segments: int) -> tuple[int, ...]:
    """A warehouse reads so many, and ends when it has committed that."""
    sink = Sink(writer, inference_log.LOG, Limits(seconds=0.02))
    settings = KafkaSettings(bootstrap=kafka, group=topic)
    reader = Warehouse(topic_of(topic), sink, WarehouseMetrics(), settings)
    group = Consumer({"bootstrap.servers": kafka, "group.id": f"{topic}.warehouse"})
    try:
        await reader.start()
        running = asyncio.create_task(reader.run())
        async with asyncio.timeout(WITHIN_S):
            while await asyncio.to_thread(_committed, group, topic) < segments:
                assert not running.done(), running
                await asyncio.sleep(0.05)
            while (await asyncio.to_thread(writer.rows, COUNTS))[0][0] < segments * SIZE:
                assert not running.done(), running
                await asyncio.sleep(0.05)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    finally:
        await reader.stop()
        group.close()
    return tuple((await asyncio.to_thread(writer.rows, COUNTS))[0])


def _committed(group: Consumer, topic: str) -> int:
    return int(group.committed([TopicPartition(topic, 0)], 10)[0].offset)


def make_anew(kafka: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_topics([topic])[topic].result(WITHIN_S)  # pyright: ignore[reportUnknownMemberType]  # of any
    until(lambda: topic not in admin.list_topics(timeout=WITHIN_S).topics)
    asyncio.run(new_topic(kafka, topic))


def test_history_that_is_not_the_same_loses_no_row(
    kafka: str, prefix: str, clickhouse_at: Server
) -> None:
    topic = asyncio.run(new_topic(kafka, f"{prefix}inference.journal"))
    writer = clickhouse.server(clickhouse_at.dsn)
    warehouse_tables.migrate(writer)
    retention.keep(writer, {"inference_log": 400})
    produce(kafka, topic, range(10))
    assert asyncio.run(fill(writer, kafka, topic, 10)) == (100, 100, 100)

    for table in ("inference_log", "sink_batches"):  # a folder that was emptied
        writer.command(f"TRUNCATE TABLE chimera.{table}")
    assert asyncio.run(fill(writer, kafka, topic, 10)) == (100, 100, 100)

    make_anew(kafka, topic)
    produce(kafka, topic, range(12))  # offsets go on as if it were the same
    with pytest.raises(HistoryConflict, match="another topic"):
        asyncio.run(fill(writer, kafka, topic, 12))
    make_anew(kafka, topic)
    produce(kafka, topic, range(3))
    writer.command("TRUNCATE TABLE chimera.sink_batches")  # an older release told no topic
    for _ in range(2):  # whoever says so leaves nothing that would let the next one pass
        with pytest.raises(HistoryConflict, match="goes on at 10, and its topic ends at 3"):
            asyncio.run(fill(writer, kafka, topic, 3))
    for statement in ANOTHER:  # docs/analytics.md
        writer.command(statement)
    assert asyncio.run(fill(writer, kafka, topic, 3)) == (30, 30, 30)
